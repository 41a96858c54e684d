"""The pages of pairs, as a signed-in person meets them."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from certs import pair as pem
from certs.models import Pair
from tests import people
from tests.doubles.pairs import make_pair
from tests.factories import issued_pair, local_host, pair_spec
from xmailadmin import audit
from xmailadmin.models import AuditEntry, User

pytestmark = pytest.mark.django_db

LIVE = {"HX-Request": "true"}
KEY_PAGES = ("pair_key", "pair_zip")
PAGES = ("pair_detail", "pair_progress", "pair_text", "pair_certificate", "pair_der", *KEY_PAGES)


@pytest.fixture
def person() -> User:
    return people.person("key_holder")


@pytest.fixture
def signed_in(client: Client, person: User) -> Client:
    """Signed in, and has just shown a second factor."""
    people.sign_in(client, person, confirmed=True)
    return client


def page(signed_in: Client, name: str, *args: int, **query: str) -> str:
    """The text of a page that must exist."""
    response = signed_in.get(reverse(name, args=args), query)
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    """What a reader sees of a page, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def listed(signed_in: Client, **query: str) -> list[int]:
    """The numbers of the pairs in the list, in its order."""
    return [
        int(found)
        for found in re.findall(r'<th scope="row">\s*<a href="/pairs/(\d+)/"',
                                page(signed_in, "pair_list", **query))
    ]  # fmt: skip


def adopted(**changes: Any) -> Pair:
    """A pair that was found on a host."""
    found = make_pair("old.dojo.jp")
    files = {"key": found.key, "certificate": found.certificate} | changes
    return Pair.objects.adopt(files["key"], files["certificate"], found_on="mail9")


# --- The list ---------------------------------------------------------------------------------


def test_an_empty_list_leads_to_the_form(signed_in: Client) -> None:
    html = page(signed_in, "pair_list")
    assert "There is no pair yet" in html
    assert f'href="{reverse("pair_new")}"' in html


def test_the_list_tells_what_a_pair_is_for_and_where_it_is(
    signed_in: Client, person: User, tmp_path: Path
) -> None:
    pair = issued_pair(aliases="dojo.jp www.soopoo.jp imap.dojo.jp")
    Pair.objects.update(created_by=person, memo="for the autumn")
    local_host(tmp_path, "mail1", pair=pair)
    local_host(tmp_path, "mail2", pair=pair)
    seen = words(page(signed_in, "pair_list"))
    for text in (f"#{pair.pk}", "mail.dojo.jp", "dojo.jp", "and 1 more", "EC P-256", "2 hosts",
                 "824 days left", "for the autumn", "hanako"):  # fmt: skip
        assert text in seen
    assert pair.sha256[:8].upper() in re.sub("[: ]", "", seen)
    assert "PRIVATE KEY" not in seen


def test_the_list_asks_the_database_equally_often_however_long_it_is(
    signed_in: Client,
    person: User,
    tmp_path: Path,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(3):
        local_host(tmp_path, f"mail{number}", pair=issued_pair())
    Pair.objects.update(created_by=person)
    with django_assert_num_queries(6):  # session, person, permissions (2), count, rows
        page(signed_in, "pair_list")
    for number in range(3, 9):
        local_host(tmp_path, f"mail{number}", pair=issued_pair())
    Pair.objects.update(created_by=person)
    with django_assert_num_queries(6):
        page(signed_in, "pair_list")


def test_the_list_has_thirty_pairs_a_page(signed_in: Client) -> None:
    Pair.objects.bulk_create([Pair(common_name=f"{n}.dojo.jp") for n in range(31)])
    assert len(listed(signed_in)) == 30
    assert len(listed(signed_in, page="2")) == 1


def test_the_list_is_searched_by_name_memo_number_and_fingerprint(signed_in: Client) -> None:
    wanted = issued_pair(common_name="mail.example.jp", aliases="www.soopoo.jp メール.jp")
    Pair.objects.filter(pk=wanted.pk).update(memo="Autumn 2026")
    issued_pair()
    colons = ":".join(re.findall("..", wanted.sha256.upper()))
    for search in ("EXAMPLE", "soopoo", "メール.jp", "autumn", "example 2026", f"#{wanted.pk}",
                   wanted.sha256, colons, colons[:14], colons.replace(":", " ")):  # fmt: skip
        assert listed(signed_in, q=search) == [wanted.pk], search
    assert listed(signed_in, q="example spring") == []
    assert "No pair fits this search" in page(signed_in, "pair_list", q="example spring")


def test_the_list_is_filtered_by_expiry_and_origin(signed_in: Client) -> None:
    now = timezone.now()
    ages = {days: issued_pair() for days in (-1, 20, 60, 400)}
    for days, pair in ages.items():
        Pair.objects.filter(pk=pair.pk).update(not_after=now + timedelta(days=days))
    assert listed(signed_in, expiry="expired") == [ages[-1].pk]
    assert listed(signed_in, expiry="30") == [ages[20].pk]
    assert listed(signed_in, expiry="90") == [ages[60].pk, ages[20].pk]
    assert listed(signed_in, expiry="valid") == [ages[400].pk, ages[60].pk, ages[20].pk]
    found = adopted()
    assert listed(signed_in, origin="ADOPTED") == [found.pk]
    assert len(listed(signed_in, expiry="no such thing")) == 5


def test_the_list_is_sorted_by_its_columns(signed_in: Client, tmp_path: Path) -> None:
    first, second = issued_pair(common_name="b.dojo.jp"), issued_pair(common_name="a.dojo.jp")
    local_host(tmp_path, pair=first)
    assert listed(signed_in) == [second.pk, first.pk]
    assert listed(signed_in, sort="pair") == [second.pk, first.pk]
    assert listed(signed_in, sort="-hosts") == [first.pk, second.pk]
    for column in ("key", "until", "made", "-pair"):
        assert len(listed(signed_in, sort=column)) == 2


# --- One pair ---------------------------------------------------------------------------------


def test_the_page_tells_every_fact_of_the_certificate(signed_in: Client) -> None:
    pair = issued_pair(aliases="dojo.jp 192.0.2.1", email="postmaster@dojo.jp")
    html = page(signed_in, "pair_detail", pair.pk)
    seen = words(html)
    facts = pair.facts()
    assert facts is not None
    for text in ("mail.dojo.jp", "192.0.2.1", "postmaster@dojo.jp", "EC P-256", facts.serial,
                 facts.signature_algorithm, "O = &quot;Xmail Co., Ltd.&quot;",
                 "X509v3 Subject Alternative Name", "Self-signed"):  # fmt: skip
        assert text in seen
    assert ":<wbr>".join(re.findall("..", pair.sha256.upper())) in html
    assert 'data-copy-from="sha256"' in html
    assert "Signature Algorithm: ecdsa-with-SHA256" in html  # the full text


def test_the_page_tells_what_clients_do_with_the_certificate(signed_in: Client) -> None:
    seen = words(page(signed_in, "pair_detail", issued_pair(key_size="rsa-2048").pk))
    assert "How mail clients behave with it" in seen
    assert "Thunderbird" in seen


def test_the_page_tells_where_the_pair_is(signed_in: Client, tmp_path: Path) -> None:
    pair = issued_pair()
    assert "No host holds this pair now." in page(signed_in, "pair_detail", pair.pk)
    host = local_host(tmp_path, "mail1", pair=pair)
    html = page(signed_in, "pair_detail", pair.pk)
    assert host.get_absolute_url() in html
    assert reverse("deployment_new", args=[pair.pk]) in html


def test_the_key_is_on_no_page(signed_in: Client) -> None:
    pair = issued_pair()
    key = (pair.private_key() or b"").decode()
    body = key.splitlines()[1]
    for name, args in (("pair_list", []), *((name, [pair.pk]) for name in PAGES)):
        answer = signed_in.get(reverse(name, args=args)).content.decode(errors="replace")
        assert "PRIVATE KEY" not in answer, name
        assert body not in answer, name


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"key": None}, "There is a certificate without its private key."),
        ({"certificate": None}, "There is a private key without a certificate."),
        ({"key": make_pair("x.test").key}, "The private key does not belong to the certificate."),
        ({"certificate": b"junk"}, "The certificate cannot be read"),
    ],
)
def test_an_unusable_pair_says_what_is_wrong_and_what_to_do(
    signed_in: Client, files: dict[str, bytes | None], reason: str
) -> None:
    pair = adopted(**files)
    html = page(signed_in, "pair_detail", pair.pk)
    assert reason in html
    assert "It cannot be installed." in html
    assert f"{reverse('pair_new')}?from={pair.pk}" in html
    assert reverse("deployment_new", args=[pair.pk]) not in html


def test_a_pair_that_could_not_be_made_can_be_made_again(signed_in: Client) -> None:
    pair = Pair.objects.request(pair_spec(), by=None)
    Pair.objects.update(status=Pair.Status.FAILED, failure="attempts")
    html = page(signed_in, "pair_detail", pair.pk)
    assert "The pair could not be made" in html
    assert f"{reverse('pair_new')}?from={pair.pk}" in html


def test_an_expired_certificate_is_told_on_its_page(signed_in: Client) -> None:
    pair = issued_pair()
    Pair.objects.update(not_after=timezone.now() - timedelta(days=1))
    assert "The certificate has expired" in page(signed_in, "pair_detail", pair.pk)


def test_a_certificate_with_thousands_of_names_makes_no_huge_page(signed_in: Client) -> None:
    names = [f"mail{number}.dojo.jp" for number in range(7000)]
    made = make_pair("mail.dojo.jp", aliases=names)
    assert len(made.certificate) < pem.MOST_CERTIFICATE
    pair = Pair.objects.adopt(made.key, made.certificate, found_on="mail1")
    for language, more in (("en", "and 6800 more"), ("ja", "6800")):
        signed_in.cookies["django_language"] = language
        shown = page(signed_in, "pair_detail", pair.pk)
        assert "mail199.dojo.jp" in shown
        assert more in words(shown)
        assert len(shown) < 200_000
    assert "mail6999.dojo.jp" in page(signed_in, "pair_text", pair.pk)


def test_the_full_text_has_a_page_of_its_own(signed_in: Client) -> None:
    pair = issued_pair()
    seen = page(signed_in, "pair_text", pair.pk)
    assert "X509v3 Basic Constraints: critical" in seen
    unreadable = adopted(certificate=b"junk")
    assert signed_in.get(reverse("pair_text", args=[unreadable.pk])).status_code == 404


@pytest.mark.parametrize("name", PAGES)
def test_a_pair_that_is_not_there_is_not_found(signed_in: Client, name: str) -> None:
    address = reverse(name, args=[404])
    assert signed_in.get(address).status_code == 404
    assert signed_in.post(address).status_code in (404, 405)


# --- While it is made -------------------------------------------------------------------------


def test_progress_asks_again_until_the_pair_is_made_and_then_leads_to_it(signed_in: Client) -> None:
    pair = Pair.objects.request(pair_spec(), by=None)
    html = page(signed_in, "pair_detail", pair.pk)
    assert 'hx-trigger="every 1s"' in html
    assert "This waits for a worker." in html
    address = reverse("pair_progress", args=[pair.pk]) + "?making"
    assert address in html
    assert 'hx-trigger="every 1s"' in signed_in.get(address, headers=LIVE).content.decode()
    pair.make()
    response = signed_in.get(address, headers=LIVE)
    assert response.headers["HX-Redirect"] == pair.get_absolute_url()
    assert "The pair is ready" in page(signed_in, "pair_detail", pair.pk)


def test_progress_opened_by_hand_is_the_page(signed_in: Client) -> None:
    pair = Pair.objects.request(pair_spec(), by=None)
    response = signed_in.get(reverse("pair_progress", args=[pair.pk]))
    assert (response.status_code, response.headers["Location"]) == (302, pair.get_absolute_url())


def test_a_pair_that_waits_long_says_so(signed_in: Client) -> None:
    pair = Pair.objects.request(pair_spec(), by=None)
    Pair.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    assert "This takes unusually long." in page(signed_in, "pair_detail", pair.pk)


# --- The memo ---------------------------------------------------------------------------------


def test_the_memo_is_changed_with_and_without_htmx(signed_in: Client, person: User) -> None:
    pair = issued_pair()
    address = reverse("pair_memo", args=[pair.pk])
    response = signed_in.post(address, {"memo": "for <the> autumn"})
    assert response.headers["Location"] == pair.get_absolute_url()
    html = page(signed_in, "pair_detail", pair.pk)
    assert "for &lt;the&gt; autumn" in html
    assert "The memo is saved." in html
    part = signed_in.post(address, {"memo": "spring"}, headers=LIVE).content.decode()
    assert "The memo is saved." in part
    assert "<html" not in part
    pair.refresh_from_db()
    assert pair.memo == "spring"
    assert AuditEntry.objects.filter(action="pair.memo", actor=person).count() == 2


def test_a_memo_that_is_too_long_is_refused_and_kept_on_the_page(signed_in: Client) -> None:
    pair = issued_pair()
    address = reverse("pair_memo", args=[pair.pk])
    for response in (
        signed_in.post(address, {"memo": "x" * 2001}),
        signed_in.post(address, {"memo": "x" * 2001}, headers=LIVE),
    ):
        html = response.content.decode()
        assert "x" * 2001 in html
        assert 'aria-invalid="true"' in html
    pair.refresh_from_db()
    assert pair.memo == ""


def test_the_memo_is_changed_only_by_post(signed_in: Client) -> None:
    assert signed_in.get(reverse("pair_memo", args=[issued_pair().pk])).status_code == 405


# --- Files ------------------------------------------------------------------------------------


def test_the_certificate_leaves_as_it_is_installed(signed_in: Client) -> None:
    pair = issued_pair()
    response = signed_in.get(reverse("pair_certificate", args=[pair.pk]))
    assert response.content == pair.certificate_pem
    assert response.headers["Content-Type"] == "application/x-pem-file"
    assert response.headers["Content-Disposition"] == 'attachment; filename="server.cert"'
    der = signed_in.get(reverse("pair_der", args=[pair.pk]))
    leaf = x509.load_pem_x509_certificate(response.content)
    assert der.content == leaf.public_bytes(serialization.Encoding.DER)
    assert der.headers["Content-Disposition"] == 'attachment; filename="server.der"'


def test_the_key_leaves_by_post_uncached_and_recorded(signed_in: Client, person: User) -> None:
    pair = issued_pair()
    response = signed_in.post(reverse("pair_key", args=[pair.pk]))
    assert pem.matches(response.content, pair.certificate_pem or b"")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Disposition"] == 'attachment; filename="server.key"'
    entry = AuditEntry.objects.get(action="pair.key")
    assert (entry.actor, entry.object_id, entry.address) == (person, str(pair.pk), "127.0.0.1")
    assert entry.detail == {"sha256": pair.sha256}


def test_both_files_leave_in_one_archive_under_xmails_names(signed_in: Client) -> None:
    pair = issued_pair()
    response = signed_in.post(reverse("pair_zip", args=[pair.pk]))
    assert response.headers["Cache-Control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["server.key", "server.cert"]
        assert archive.read("server.key") == pair.private_key()
        assert archive.read("server.cert") == pair.certificate_pem
        assert archive.getinfo("server.key").external_attr >> 16 == 0o100600
    assert AuditEntry.objects.filter(action="pair.zip", object_id=str(pair.pk)).count() == 1


@pytest.mark.parametrize("name", KEY_PAGES)
def test_a_link_to_the_key_is_refused_and_leads_to_the_button(signed_in: Client, name: str) -> None:
    pair = issued_pair()
    response = signed_in.get(reverse(name, args=[pair.pk]))
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert f"{pair.get_absolute_url()}#files" in response.content.decode()
    assert b"PRIVATE KEY" not in response.content
    assert not AuditEntry.objects.filter(action=name.replace("_", ".")).exists()


@pytest.mark.parametrize("name", KEY_PAGES)
def test_nothing_leaves_when_it_cannot_be_recorded(
    signed_in: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = issued_pair()

    def broken(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(audit, "record", broken)
    signed_in.raise_request_exception = False
    response = signed_in.post(reverse(name, args=[pair.pk]))
    assert response.status_code == 500
    assert b"PRIVATE KEY" not in response.content
    assert not response.content.startswith(b"PK")


@pytest.mark.parametrize("name", KEY_PAGES)
def test_a_key_that_cannot_be_unsealed_is_said_and_not_recorded(
    signed_in: Client, name: str
) -> None:
    pair = issued_pair()
    Pair.objects.update(key_sealed=issued_pair().key_sealed)  # of another row
    response = signed_in.post(reverse(name, args=[pair.pk]), follow=True)
    assert "The private key cannot be unsealed" in response.content.decode()
    assert not AuditEntry.objects.filter(action=name.replace("_", ".")).exists()


def test_a_key_that_does_not_exist_is_not_found(signed_in: Client) -> None:
    pair = adopted(key=None)
    for name in KEY_PAGES:
        assert signed_in.post(reverse(name, args=[pair.pk])).status_code == 404
    waiting = Pair.objects.request(pair_spec(), by=None)
    for name in PAGES[3:]:
        assert signed_in.post(reverse(name, args=[waiting.pk])).status_code in (404, 405)


def test_nobody_comes_in_without_signing_in(client: Client) -> None:
    pair = issued_pair()
    for name in ("pair_list", "pair_memo", *PAGES):
        address = reverse(name, args=[] if name == "pair_list" else [pair.pk])
        for response in (client.get(address), client.post(address)):
            assert response.status_code == 302, name
            assert response.headers["Location"].startswith(reverse("account_login"))
    assert not AuditEntry.objects.filter(action__in=("pair.key", "pair.zip", "pair.memo")).exists()


@pytest.mark.parametrize("name", [*KEY_PAGES, "pair_memo"])
def test_a_foreign_site_cannot_send_the_forms(person: User, name: str) -> None:
    pair = issued_pair()
    signed_in = Client(enforce_csrf_checks=True)
    people.sign_in(signed_in, person, confirmed=True)
    response = signed_in.post(reverse(name, args=[pair.pk]), {"memo": "x"})
    assert response.status_code == 403
    assert b"PRIVATE KEY" not in response.content
