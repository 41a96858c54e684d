"""Two people who change one host at the same moment: what one enters goes only where it was meant.

A look at a host takes seconds, as long as its server pleases; here the other person is through
with all of it while the first one's look is under way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from hosts import by_hand, identity
from hosts.host_form import HostForm
from hosts.models import Host
from tests import people
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.xmail import XMail
from tests.factories import local_host
from tests.hosts.ctrl.cases import NEW, OLD
from tests.hosts.pages import edit, opened, text
from tests.hosts.test_views_enrolment import ctrl_fields
from tests.hosts.test_views_hosts import fields
from xmailadmin import roles, sessions
from xmailadmin.models import AuditEntry, User

pytestmark = pytest.mark.django_db
MEANWHILE = "Somebody changed this host meanwhile"


@pytest.fixture(autouse=True)
def _brisk(brisk_ctrl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


@pytest.fixture
def host(admin_client: Client, xmail: XMail) -> Host:
    admin_client.post(reverse("host_add"), ctrl_fields(xmail, confirmed=OLD.sha256))
    return Host.objects.get()


@pytest.fixture
def during_the_look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Has something happen once, in the midst of the next look of a form at its host."""

    def arrange(other: Callable[[], Any]) -> None:
        look = HostForm._look

        def slow(form: HostForm, path: str) -> None:
            monkeypatch.setattr(HostForm, "_look", look)
            other()
            look(form, path)

        monkeypatch.setattr(HostForm, "_look", slow)

    return arrange


@pytest.mark.parametrize(
    "change",
    [
        {"port": 1}, {"user": "somebody"}, {"trust_fingerprint": NEW.sha256},
        {"allow_plain_key": True}, {"mailroot": "/elsewhere"}, {"password_sealed": ""},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_nothing_is_saved_over_what_somebody_else_changed_during_the_look(
    admin_client: Client, host: Host, xmail: XMail, during_the_look: Any, change: dict[str, Any]
) -> None:
    sealed = host.password_sealed
    during_the_look(lambda: Host.objects.update(**change))
    sent = ctrl_fields(xmail, trust_fingerprint=OLD.sha256, memo="rack 3")
    page = edit(admin_client, host, sent)
    assert page.status_code == 200
    assert text(page).count(MEANWHILE) == 1
    assert "rack 3" in text(page), "what was typed is still there"
    assert xmail.password not in page.content.decode()
    host.refresh_from_db()
    assert host.password_sealed == change.get("password_sealed", sealed)
    assert host.memo == ""
    assert not AuditEntry.objects.filter(action="host.edit").exists()


def test_a_password_that_a_colleague_enters_does_not_go_to_the_server_of_a_slow_form(
    admin_client: Client, host: Host, xmail: XMail, tmp_path: Path, during_the_look: Any
) -> None:
    """Whoever owns the server decides how long the look takes, and waits for the password."""
    Host.objects.update(password_sealed="")
    mailroot = make_mailroot(tmp_path / "evil", key=NEW.key, certificate=NEW.certificate)
    with XMail(mailroot) as evil:
        pointed_there = ctrl_fields(evil, trust_fingerprint=NEW.sha256)
        rightly = ctrl_fields(xmail, trust_fingerprint=OLD.sha256)
        during_the_look(lambda: edit(admin_client, host, rightly))
        page = text(edit(admin_client, host, pointed_there))
        assert MEANWHILE in page, page
        host.refresh_from_db()
        assert host.port == xmail.ports["ctrl"]
        assert host.target().credential.password == xmail.password
        again = edit(admin_client, host, pointed_there | {"password": ""})
        assert "would go to another place" in text(again)


@pytest.mark.parametrize(
    "change",
    [
        {"port": 1}, {"user": "somebody"}, {"trust_fingerprint": NEW.sha256},
        {"allow_plain_key": True}, {"smtp_port": 1}, {"name": "renamed"}, {"password_sealed": ""},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_form_that_was_opened_before_a_colleagues_change_does_not_undo_it(
    admin_client: Client, host: Host, xmail: XMail, change: dict[str, Any]
) -> None:
    address = reverse("host_edit", args=[host.pk])
    sent = ctrl_fields(xmail, trust_fingerprint=OLD.sha256, memo="rack 3")
    sent |= opened(admin_client, host)
    Host.objects.update(**change)
    logins = xmail.seen.logins
    page = admin_client.post(address, sent)
    assert text(page).count(MEANWHILE) == 1
    assert "rack 3" in text(page), "what was typed is still there"
    assert xmail.password not in page.content.decode()
    assert xmail.seen.logins == logins, "nobody is met for what is not saved"
    held = Host.objects.filter(pk=host.pk, memo="")
    assert held.values(*change).get() == change
    for odd in ("", "odd", "\N{SNOWMAN}\0"):
        assert MEANWHILE in text(admin_client.post(address, sent | {"shown": odd}))
    again = re.search(r'name="shown" value="(\w+)"', page.content.decode())
    assert again
    done = admin_client.post(address, sent | {"shown": again[1]}, follow=True)
    assert "The changes are saved." in text(done), "who has read that knows"


def test_a_test_does_not_hide_that_a_colleague_has_changed_the_host(
    admin_client: Client, host: Host, xmail: XMail
) -> None:
    sent = ctrl_fields(xmail, trust_fingerprint=OLD.sha256) | opened(admin_client, host)
    Host.objects.update(smtp_port=1)
    page = admin_client.post(reverse("host_edit_check", args=[host.pk]), sent)
    assert "Logged in as admin" in text(page)
    assert f'name="shown" value="{sent["shown"]}"' in page.content.decode()


@pytest.mark.parametrize("change", [{}, {"allow_plain_key": "on"}])
def test_a_host_that_was_deleted_during_the_look_is_gone(
    admin_client: Client, host: Host, xmail: XMail, during_the_look: Any, change: dict[str, str]
) -> None:
    during_the_look(lambda: Host.objects.all().delete())
    sent = ctrl_fields(xmail, trust_fingerprint=OLD.sha256) | change
    page = edit(admin_client, host, sent)
    assert page.status_code == 404


def test_an_installation_that_goes_on_meanwhile_is_no_change(
    admin_client: Client, host: Host, xmail: XMail, during_the_look: Any
) -> None:
    during_the_look(lambda: Host.objects.update(token="t" * 16, state="ok", memo="of a colleague"))
    sent = ctrl_fields(xmail, trust_fingerprint=OLD.sha256)
    page = edit(admin_client, host, sent, follow=True)
    assert "The changes are saved." in text(page)
    host.refresh_from_db()
    assert (host.token, host.memo) == ("t" * 16, "of a colleague")


@pytest.fixture
def moved_while_it_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    trust = identity.trust

    def late(host: Host, fingerprint: str, **by: Any) -> None:
        Host.objects.update(port=1)
        trust(host, fingerprint, **by)

    monkeypatch.setattr(identity, "trust", late)


@pytest.mark.usefixtures("moved_while_it_is_met")
def test_who_was_met_at_one_place_is_not_trusted_at_another(
    admin_client: Client, host: Host, xmail: XMail, mailroot: Path
) -> None:
    write_pair(mailroot, NEW.key, NEW.certificate)
    address = reverse("host_reenrol", args=[host.pk])
    page = admin_client.post(address, {"confirmed": NEW.sha256})
    assert MEANWHILE in text(page)
    assert "Trust this identity" not in text(page), "at the new place nobody was met yet"
    Host.objects.update(port=host.port)
    with pytest.raises(CommandError, match=MEANWHILE):
        call_command("reenrol_host", host.name, "--trust-fingerprint", NEW.sha256)
    host.refresh_from_db()
    assert host.trust_fingerprint == OLD.sha256
    assert not AuditEntry.objects.filter(action="host.trust").exists()


# --- Who may no more ----------------------------------------------------------------------------


def switched_off(person: User) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)


def made_to_sign_in_anew(person: User) -> None:
    sessions.end_all(person)


def made_a_viewer(person: User) -> None:
    roles.give(person, ["viewer"])


@pytest.mark.parametrize("decided", [switched_off, made_to_sign_in_anew, made_a_viewer])
@pytest.mark.parametrize("form", ["host_add", "host_edit"])
def test_who_may_no_more_when_the_look_is_over_saves_nothing(
    tmp_path: Path, during_the_look: Any, form: str, decided: Callable[[User], None]
) -> None:
    taro = people.person("operator", username="taro")
    browser = people.signed_in(taro, confirmed=True)
    mailroot = str(make_mailroot(tmp_path / "new"))
    sent = fields(mailroot, name="renamed")
    during_the_look(lambda: decided(User.objects.get(pk=taro.pk)))
    if form == "host_edit":
        host = local_host(tmp_path)
        before = list(Host.objects.values())
        response = edit(browser, host, sent)
    else:
        before = []
        response = browser.post(reverse(form), sent)
    assert response.status_code == 403
    assert list(Host.objects.values()) == before


def test_what_was_read_at_one_place_is_not_kept_of_another(
    admin_client: Client, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity that somebody has just entered would be replaced by that of the old place."""
    read = by_hand._do

    def slow(work: Any) -> Any:
        found = read(work)
        Host.objects.filter(pk=host.pk).update(port=1, trust_fingerprint=NEW.sha256)
        return found

    monkeypatch.setattr(by_hand, "_do", slow)
    page = admin_client.post(reverse("host_adopt", args=[host.pk]), follow=True)
    assert MEANWHILE in text(page)
    host.refresh_from_db()
    assert (host.port, host.trust_fingerprint, host.pair) == (1, NEW.sha256, None)
    assert not AuditEntry.objects.filter(action__in=("host.adopt", "pair.adopt")).exists()
