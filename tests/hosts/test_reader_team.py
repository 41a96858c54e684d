"""What the team does with the page for mail users."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from certs.models import Pair
from hosts.models import Host, ReaderPage
from hosts.views import reader_team
from tests.factories import issued_pair, local_host
from tests.hosts.pages import text
from tests.hosts.reading import (
    MASTER_KEY,
    PORTS,
    host,
    pair,
    path_of,
    switched_on,
    users_page,
)
from tests.people import person, signed_in
from xmailadmin import rotation, vault
from xmailadmin.models import AuditEntry

__all__ = ["host", "pair", "users_page"]  # fixtures

pytestmark = pytest.mark.django_db

OTHER_KEY = "B" * 43 + "="
CHOSEN = {"server_name": "mail.dojo.jp", "mail_domain": "dojo.jp", "user_name": "address"}


@pytest.fixture
def operator() -> Client:
    return signed_in(person("operator", username="sato"))


def actions() -> list[str]:
    rows = AuditEntry.objects.filter(action__startswith="reader.").order_by("number")
    return list(rows.values_list("action", flat=True))


def test_it_is_switched_on_from_the_page_of_the_host(operator: Client, host: Host) -> None:
    assert "Switch the page on" in text(operator.get(f"/hosts/{host.pk}/"))
    address = f"/hosts/{host.pk}/mail-users/"
    form = operator.get(address)
    assert form.context["form"].initial["server_name"] == "mail.dojo.jp"
    assert form.context["form"].initial["mail_domain"] == "dojo.jp"
    assert host.address not in form.content.decode()
    answer = operator.post(address, CHOSEN)
    assert answer.headers["Location"] == f"/hosts/{host.pk}/#mail-users"

    page = ReaderPage.objects.get()
    shown = operator.get(f"/hosts/{host.pk}/").content.decode()
    assert page.link() in shown
    assert f'src="{path_of(page)}qr.svg"' in shown
    assert Client().get(path_of(page)).status_code == 200
    assert actions() == ["reader.on"]
    entry = AuditEntry.objects.get(action="reader.on")
    assert (entry.object_type, entry.object_id) == ("host", str(host.pk))
    assert urlsplit(page.link()).path.split("/")[2] not in str(entry.detail)


def test_it_is_switched_on_from_the_page_of_the_pair(operator: Client, pair: Pair) -> None:
    assert "every host with this pair" in text(operator.get(f"/pairs/{pair.pk}/mail-users/"))
    operator.post(f"/pairs/{pair.pk}/mail-users/", CHOSEN)
    page = ReaderPage.objects.get()
    assert (page.pair, page.host) == (pair, None)
    shown = text(operator.get(f"/pairs/{pair.pk}/"))
    assert page.link() in shown
    assert "The page names no ports" in shown


def test_what_it_says_can_be_changed_and_the_link_stays(
    operator: Client, users_page: ReaderPage, host: Host
) -> None:
    before = users_page.link()
    operator.post(f"/hosts/{host.pk}/mail-users/", {**CHOSEN, "contact": "Room 5"})
    users_page.refresh_from_db()
    assert (users_page.contact, users_page.link()) == ("Room 5", before)
    assert actions() == ["reader.edit"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("server_name", "10.20.30.40", "The certificate does not hold this name"),
        ("server_name", "other.dojo.jp", "It holds: mail.dojo.jp"),
        ("server_name", "*.dojo.jp", "The certificate does not hold this name"),
        ("server_name", "mail dojo", "is not a host name"),
        ("sending_name", "smtp.dojo.jp", "The certificate does not hold this name"),
        ("mail_domain", "192.0.2.1", "Enter the domain of the mail addresses"),
        ("mail_domain", "*.dojo.jp", "Enter the domain of the mail addresses"),
        ("contact", "a\u202eb", "invisible character"),
        ("user_name", "root", "Select a valid choice"),
    ],
)
def test_what_is_refused(
    operator: Client, host: Host, field: str, value: str, message: str
) -> None:
    answer = operator.post(f"/hosts/{host.pk}/mail-users/", {**CHOSEN, field: value})
    assert message in text(answer)
    assert not ReaderPage.objects.exists()


def test_a_wildcard_certificate_holds_more_names(operator: Client, tmp_path: Path) -> None:
    host = local_host(tmp_path, "wild", pair=issued_pair(common_name="*.dojo.jp"), **PORTS)
    address = f"/hosts/{host.pk}/mail-users/"
    assert operator.get(address).context["form"].initial["server_name"] == ""
    operator.post(address, {**CHOSEN, "server_name": "POP.Dojo.JP", "sending_name": "smtp.dojo.jp"})
    page = ReaderPage.objects.get()
    assert (page.server_name, page.sending_name) == ("pop.dojo.jp", "smtp.dojo.jp")


def test_without_a_certificate_it_cannot_be_switched_on(operator: Client, tmp_path: Path) -> None:
    host = local_host(tmp_path)
    assert "once there is a certificate" in text(operator.get(f"/hosts/{host.pk}/"))
    answer = operator.get(f"/hosts/{host.pk}/mail-users/", follow=True)
    assert "There is no certificate to tell people about yet" in text(answer)


def test_the_link_is_renewed(operator: Client, users_page: ReaderPage) -> None:
    old = path_of(users_page)
    assert "stops working at once" in text(operator.get(f"/mail-users/{users_page.pk}/renew/"))
    assert Client().get(old).status_code == 200  # asking changes nothing
    operator.post(f"/mail-users/{users_page.pk}/renew/")
    users_page.refresh_from_db()
    assert Client().get(old).status_code == 404
    assert Client().get(path_of(users_page)).status_code == 200
    assert actions() == ["reader.renew"]


def test_renewing_the_link_undoes_nothing_that_a_colleague_saves_meanwhile(
    operator: Client, users_page: ReaderPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = reader_team._page

    def slow(pk: int) -> ReaderPage:
        page = load(pk)
        ReaderPage.objects.update(contact="Hanako, extension 7")
        return page

    monkeypatch.setattr(reader_team, "_page", slow)
    operator.post(f"/mail-users/{users_page.pk}/renew/")
    assert actions() == ["reader.renew"]
    users_page.refresh_from_db()
    assert users_page.contact == "Hanako, extension 7"


def test_the_link_is_withdrawn_and_the_page_switched_on_again(
    operator: Client, users_page: ReaderPage, host: Host
) -> None:
    old = path_of(users_page)
    operator.post(f"/mail-users/{users_page.pk}/withdraw/")
    assert Client().get(old).status_code == 404
    users_page.refresh_from_db()
    assert (users_page.token_sha256, users_page.token_sealed) == (None, "")
    assert "The link was withdrawn" in text(operator.get(f"/hosts/{host.pk}/"))
    form = operator.get(f"/hosts/{host.pk}/mail-users/").context["form"]
    assert form["contact"].value() == "Help desk, ext. 123"
    operator.post(f"/hosts/{host.pk}/mail-users/", CHOSEN)
    users_page.refresh_from_db()
    assert users_page.on
    assert Client().get(old).status_code == 404
    assert actions() == ["reader.withdraw", "reader.on"]


def test_a_change_is_announced_and_taken_back(
    operator: Client, users_page: ReaderPage, host: Host, pair: Pair
) -> None:
    address = f"/mail-users/{users_page.pk}/announce/"
    assert "There is no other pair" in text(operator.get(address))
    new = issued_pair(organization="Another Co., Ltd.")
    strange = issued_pair(common_name="mail.example.jp")
    day = timezone.localdate() + timedelta(days=7)
    offered = operator.get(address).context["form"].fields["pair"].queryset
    assert list(offered) == [strange, new]  # not the one that is there already
    assert operator.get(address).context["form"].initial["pair"] == new, "the other is strange"

    wrong = operator.post(address, {"pair": strange.pk, "day": day.isoformat()})
    assert "does not hold the name mail.dojo.jp" in text(wrong)
    past = {"pair": new.pk, "day": (timezone.localdate() - timedelta(days=1)).isoformat()}
    assert "This day is past" in text(operator.post(address, past))
    operator.post(address, {"pair": new.pk, "day": day.isoformat()})
    assert f"Announced for {day.isoformat()}" in text(operator.get(f"/hosts/{host.pk}/"))
    assert f"changes on {day.isoformat()}" in text(Client().get(path_of(users_page)))

    Host.objects.filter(pk=host.pk).update(pair=new)
    assert "The announced change is done" in text(operator.get(f"/hosts/{host.pk}/"))
    Host.objects.filter(pk=host.pk).update(pair=pair)
    operator.post(address, {"drop": "1"})
    assert "changes on" not in text(Client().get(path_of(users_page)))
    assert actions() == ["reader.announce", "reader.unannounce"]
    entry = AuditEntry.objects.get(action="reader.announce")
    assert entry.detail == {"pair": new.pk, "sha256": new.sha256, "day": day.isoformat()}


def test_a_new_pair_without_the_name_is_pointed_out(
    operator: Client, users_page: ReaderPage, host: Host
) -> None:
    Host.objects.filter(pk=host.pk).update(pair=issued_pair(common_name="mail.example.jp"))
    shown = text(operator.get(f"/hosts/{host.pk}/"))
    assert "The certificate does not hold the name mail.dojo.jp" in shown


def test_a_link_that_cannot_be_unsealed_says_so(
    operator: Client, users_page: ReaderPage, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(users_page)
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", OTHER_KEY)
    assert "the master key that sealed it is not at hand" in text(
        operator.get(f"/hosts/{host.pk}/")
    )
    assert Client().get(path).status_code == 200


def test_a_rotation_of_master_keys_keeps_the_link(
    users_page: ReaderPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = users_page.link()
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", f"{OTHER_KEY},{MASTER_KEY}")
    assert rotation.rotate() >= 1
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", OTHER_KEY)
    users_page.refresh_from_db()
    assert vault.sealed_by(users_page.token_sealed) == vault.key_ids()[0]
    assert users_page.link() == before


def test_a_viewer_sees_the_link_and_changes_nothing(users_page: ReaderPage, host: Host) -> None:
    viewer = signed_in(person("viewer", username="viewer"))
    shown = viewer.get(f"/hosts/{host.pk}/").content.decode()
    assert users_page.link() in shown
    assert "/mail-users/" not in shown
    for address in (
        f"/hosts/{host.pk}/mail-users/",
        *(f"/mail-users/{users_page.pk}/{what}/" for what in ("renew", "withdraw", "announce")),
    ):
        assert viewer.get(address).status_code == 403
        assert viewer.post(address).status_code == 403
    assert users_page.link() == ReaderPage.objects.get().link()


def test_the_page_goes_with_its_host(users_page: ReaderPage, host: Host) -> None:
    path = path_of(users_page)
    host.delete()
    assert Client().get(path).status_code == 404


def test_a_page_is_about_one_thing(pair: Pair, host: Host) -> None:
    with pytest.raises(IntegrityError):
        switched_on(pair=pair, host=host)
