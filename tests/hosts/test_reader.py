"""The page for mail users: what everybody with the link sees, and what nobody does."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.core.cache import caches
from django.test import Client
from django.utils import timezone

from certs.models import Pair
from hosts.models import Host, ReaderPage
from hosts.models.reader_page import token_hash
from tests.doubles.pairs import make_pair
from tests.factories import issued_pair, local_host
from tests.hosts.pages import text
from tests.hosts.reading import (
    FILES,
    PAIR_MEMO,
    PERSON,
    PORTS,
    PRIVATE,
    host,
    pair,
    path_of,
    switched_on,
    users_page,
)
from tests.people import person, signed_in

__all__ = ["host", "pair", "users_page"]  # fixtures

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_asked_before() -> None:
    caches["addresses"].clear()


def colons(sha: str) -> str:
    return bytes.fromhex(sha).hex(":").upper()


def everything(client: Client, page: ReaderPage) -> list[Any]:
    """Every answer that the link opens, in both languages."""
    path = path_of(page)
    return [
        client.get(f"{path}{end}", {"lang": language})
        for end in ("", *FILES)
        for language in ("en", "ja")
    ]


# --- What it says -------------------------------------------------------------------------------


def test_it_says_what_to_enter(client: Client, users_page: ReaderPage) -> None:
    shown = text(client.get(path_of(users_page)))
    receiving, sending = shown.index("Receiving (POP3)"), shown.index("Sending (SMTP)")
    assert receiving < shown.index("995") < shown.index("port 110 with STARTTLS") < sending
    assert sending < shown.index("465") < shown.index("port 587 with STARTTLS")
    assert shown.count("your whole mail address, such as taro@dojo.jp") == 2
    assert "mail.dojo.jp" in shown
    assert "Help desk, ext. 123" in shown


def test_it_shows_both_fingerprints_as_clients_do(
    client: Client, users_page: ReaderPage, pair: Pair
) -> None:
    html = client.get(path_of(users_page)).content.decode().replace("<wbr>", "")
    facts = pair.facts()
    assert facts is not None
    assert colons(facts.sha256) in html
    assert colons(facts.sha1) in html
    assert facts.not_after.strftime("%Y-%m-%d") in html


def test_the_other_form_of_the_user_name(client: Client, users_page: ReaderPage) -> None:
    ReaderPage.objects.update(user_name=ReaderPage.UserName.LOCAL, sending_name="smtp.dojo.jp")
    shown = text(client.get(path_of(users_page)))
    assert "the part of your mail address before @dojo.jp" in shown
    assert "smtp.dojo.jp" in shown


def test_port_25_only_where_there_is_nothing_better(
    client: Client, users_page: ReaderPage, host: Host
) -> None:
    Host.objects.update(smtp_port=25)
    assert "port 25 with" not in text(client.get(path_of(users_page)))
    Host.objects.update(smtps_port=0, submission_port=0, pop3_port=0)
    shown = text(client.get(path_of(users_page)))
    assert "Port 25" in shown
    assert "STARTTLS" in shown


def test_each_program_has_what_was_measured(client: Client, users_page: ReaderPage) -> None:
    shown = text(client.get(path_of(users_page)))
    assert "Add a certificate exception for each host and port" in shown
    assert "Measured with version ESR 153.7.0" in shown
    assert "Not measured: nobody here has tried it." in shown
    assert "Python" not in shown  # a library is no mail program
    japanese = client.get(path_of(users_page), {"lang": "ja"}).content.decode()
    assert "証明書の例外をホスト名とポートごとに追加する" in japanese


def test_what_the_team_writes_is_for_the_team_unless_it_says_otherwise(
    client: Client, users_page: ReaderPage
) -> None:
    team = signed_in(person("operator", username="oli"))
    note = {
        "client": "Thunderbird", "version": "160", "os": "Debian 13", "protocol": "POP3",
        "security": "implicit", "certificate_kind": "any", "mark": "partial",
        "remark_en": "INTERNALNOTE", "setting_en": "See 10.66.1.2", "source": "measured",
        "measured_on": "2026-11-20",
    }  # fmt: skip
    assert "for_mail_users" not in team.get("/clients/notes/new/").context["form"].initial
    written = team.post("/clients/notes/new/", note)["Location"]
    shown = text(client.get(path_of(users_page)))
    assert "INTERNALNOTE" not in shown
    assert "10.66.1.2" not in shown
    seen = team.get(f"{written}edit/").context["form"].initial["seen"]
    team.post(f"{written}edit/", note | {"seen": seen, "for_mail_users": "on"})
    shown = text(client.get(path_of(users_page)))
    assert "INTERNALNOTE" in shown
    assert "10.66.1.2" in shown
    for page in (written, "/clients/thunderbird/"):
        assert "May be shown to mail users" in text(team.get(page))


def test_the_language_can_be_chosen_in_the_link(client: Client, users_page: ReaderPage) -> None:
    for asked, browser, got in (
        ("", "en", "en"), ("", "ja", "ja"), ("ja", "en", "ja"), ("en", "ja", "en"),
        ("xx", "ja", "ja"), ("<script>", "en", "en"),
    ):  # fmt: skip
        answer = client.get(
            path_of(users_page),
            {"lang": asked} if asked else {},
            headers={"accept-language": browser},
        )
        assert f'<html lang="{got}">' in answer.content.decode()
        assert answer.headers["Content-Language"] == got
        assert 'href="?lang=ja"' in answer.content.decode()


def test_sentences_follow_each_other_as_the_language_has_it(
    client: Client, users_page: ReaderPage
) -> None:
    users_page.announce(issued_pair(), timezone.localdate() + timedelta(days=10))
    japanese = client.get(path_of(users_page), {"lang": "ja"}).content.decode()
    assert re.findall(r"。\s+[^\s<]", japanese) == []
    english = text(client.get(path_of(users_page), {"lang": "en"}))
    assert "stay as they are. When it warns you" in english
    assert "somebody may be listening in. Ask: Help desk" in english


# --- A planned change ---------------------------------------------------------------------------


def test_a_planned_change_is_told_until_it_is_done(
    client: Client, users_page: ReaderPage, host: Host, pair: Pair
) -> None:
    new = issued_pair(memo="x", organization="Another Co., Ltd.")
    day = timezone.localdate() + timedelta(days=10)
    users_page.announce(new, day)
    response = client.get(path_of(users_page))
    assert f"The certificate changes on {day.isoformat()}" in text(response)
    html = response.content.decode().replace("<wbr>", "")
    assert html.index(colons(pair.sha256)) < html.index(colons(new.sha256))

    Host.objects.filter(pk=host.pk).update(pair=new)
    html = client.get(path_of(users_page)).content.decode().replace("<wbr>", "")
    assert "The certificate changes on" not in html
    assert colons(new.sha256) in html
    assert colons(pair.sha256) not in html


def test_a_day_that_has_come_is_told_as_such(client: Client, users_page: ReaderPage) -> None:
    users_page.announce(issued_pair(), timezone.localdate() - timedelta(days=1))
    assert "That day has come" in text(client.get(path_of(users_page)))


def test_a_page_about_a_pair_follows_the_change(
    client: Client, pair: Pair, host: Host, tmp_path: Any
) -> None:
    other = local_host(tmp_path, "mail2", pair=pair, **PORTS)
    page, new = switched_on(pair=pair), issued_pair(organization="Another Co., Ltd.")
    page.announce(new, timezone.localdate())
    Host.objects.filter(pk=host.pk).update(pair=new)
    page = ReaderPage.objects.get()
    assert (page.current_pair(), page.planned_pair()) == (pair, new)  # one host is left

    Host.objects.filter(pk=other.pk).update(pair=new)
    page = ReaderPage.objects.get()
    assert (page.current_pair(), page.planned_pair()) == (new, None)
    der = client.get(f"{path_of(page)}certificate.cer").content
    assert x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256()).hex() == new.sha256

    third = issued_pair(organization="A third")
    page.announce(third, timezone.localdate())
    page = ReaderPage.objects.get()
    assert (page.pair, page.planned_pair()) == (new, third)
    page.drop_announcement()
    assert ReaderPage.objects.get().current_pair() == new


# --- What it must not say -----------------------------------------------------------------------


def test_nothing_private_is_ever_shown(client: Client, users_page: ReaderPage, host: Host) -> None:
    users_page.announce(issued_pair(), timezone.localdate())
    private = [
        *PRIVATE.values(),
        host.mailroot,
        PAIR_MEMO,
        PERSON,
        "MailRoot",
        "/hosts/",
        "/pairs/",
    ]
    for answer in everything(client, users_page):
        assert answer.status_code == 200
        shown = answer.content.decode("utf-8", "replace")
        headers = str(dict(answer.headers))
        for secret in private:
            assert secret not in shown, (secret, answer.request["PATH_INFO"])
            assert secret not in headers


def test_only_certificates_leave_a_file_that_holds_more(
    client: Client, users_page: ReaderPage
) -> None:
    made = make_pair("mail.dojo.jp")
    Pair.objects.update(certificate=b"a remark\n" + made.key + made.certificate)
    answer = client.get(f"{path_of(users_page)}certificate.pem")
    assert answer.status_code == 200
    assert answer.content.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE KEY" not in answer.content
    assert b"remark" not in answer.content


def test_nothing_leads_into_the_portal(client: Client, users_page: ReaderPage) -> None:
    path = path_of(users_page)
    for address in (path, "/r/no-such-link/"):
        html = client.get(address).content.decode()
        for link in re.findall(r'(?:href|src|action)="([^"]*)"', html):
            assert link.startswith(("?lang=", "#", "/static/xmailadmin/", path)), link
        assert "XMail" not in html.replace(users_page.server_name, "") or "XMail)" in html
        assert "<form" not in html
        assert "style=" not in html
        assert "<style" not in html


def test_it_sets_no_cookie_and_needs_no_sign_in(client: Client, users_page: ReaderPage) -> None:
    for answer in everything(client, users_page):
        assert not answer.cookies
    assert not client.cookies


def test_headers(client: Client, users_page: ReaderPage) -> None:
    missing = client.get("/r/no-such-link/")
    refused = client.post(path_of(users_page))
    assert refused.status_code == 405
    without_slash = client.get(path_of(users_page).rstrip("/"))
    assert without_slash.headers["Location"] == path_of(users_page)
    for answer in [*everything(client, users_page), missing, refused, without_slash]:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in answer.headers["X-Robots-Tag"]
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "data:" not in policy
        assert "frame-ancestors 'none'" in policy


def test_the_picture_is_a_plain_svg(client: Client, users_page: ReaderPage) -> None:
    answer = client.get(f"{path_of(users_page)}qr.svg")
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    root = ET.fromstring(answer.content)  # noqa: S314  made here
    assert {child.tag.rpartition("}")[2] for child in root} == {"path"}
    assert b"style" not in answer.content


# --- The link -----------------------------------------------------------------------------------


def test_the_database_holds_no_token(users_page: ReaderPage) -> None:
    token = path_of(users_page).split("/")[2]
    assert len(token) >= 43
    row = ReaderPage.objects.values().get()
    assert all(token not in str(value) for value in row.values())
    assert row["token_sha256"] == token_hash(token)


def test_a_link_that_is_withdrawn_or_replaced_is_as_if_it_had_never_been(
    client: Client, users_page: ReaderPage
) -> None:
    old = path_of(users_page)
    never = "/r/" + "x" * 43 + "/"
    users_page.switch_on()
    new = path_of(users_page)
    assert new != old
    answers = [client.get(old), client.get(never), client.get("/r/x/")]
    assert client.get(new).status_code == 200
    users_page.withdraw()
    answers.append(client.get(new))
    answers += [client.get(f"{new}{end}") for end in FILES]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert len({str(sorted(answer.headers.items())) for answer in answers}) == 1


def test_a_mistyped_link_leads_nowhere(client: Client, users_page: ReaderPage) -> None:
    path = path_of(users_page)
    for address in ("/r/", f"{path}more/", f"{path}certificate.key", "/r//", "/r/a/b/c"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "This link does not work" in answer.content.decode()
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert client.get(path.rstrip("/"), follow=True).status_code == 200
    assert client.get("/r/never", follow=True).status_code == 404


def test_a_page_without_a_link_is_not_found_by_an_empty_one(users_page: ReaderPage) -> None:
    users_page.withdraw()
    for token in ("", "None", token_hash(""), "\0"):
        assert ReaderPage.objects.by_token(token) is None


def test_dots_are_no_link(client: Client) -> None:
    """A browser would make the portal's front page of where they lead."""
    for path in ("/r/..", "/r/."):
        assert client.get(path).status_code == 404


def test_too_many_requests_from_one_address_are_refused(
    client: Client, users_page: ReaderPage, settings: Any
) -> None:
    settings.READER_REQUESTS_A_MINUTE = 5
    path = path_of(users_page)
    statuses = [client.get(path, REMOTE_ADDR="192.0.2.1").status_code for _ in range(5)]
    refused = client.get(f"{path}qr.svg", REMOTE_ADDR="192.0.2.1")
    assert statuses == [200] * 5
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "60"
    assert client.get("/r/guess/", REMOTE_ADDR="192.0.2.1").status_code == 429
    assert client.get(path, REMOTE_ADDR="192.0.2.2").status_code == 200
    # One subscriber has a whole /64 of IPv6 addresses.
    for number in range(5):
        client.get(path, REMOTE_ADDR=f"2001:db8::{number + 1}")
    assert client.get(path, REMOTE_ADDR="2001:db8::ffff").status_code == 429
    assert client.get(path, REMOTE_ADDR="2001:db8:0:1::1").status_code == 200


def test_requests_of_strangers_write_nothing(
    client: Client, users_page: ReaderPage, django_assert_num_queries: Any
) -> None:
    path = path_of(users_page)
    with django_assert_num_queries(1):
        client.get("/r/no-such-link/")
    with django_assert_num_queries(2) as seen:  # the page, the notes
        client.get(path)
    assert all(query["sql"].startswith("SELECT") for query in seen.captured_queries)
