"""Registering remote hosts, and trusting whom they turn out to be, without JavaScript."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from hosts.models import Host
from hosts.transports import normal_fingerprint
from tests.doubles.mailroot import write_pair
from tests.doubles.xmail import XMail
from tests.factories import ENDPOINTS_OFF
from tests.hosts.ctrl.cases import NEW, OLD
from tests.hosts.pages import edit, text
from tests.servers import SSHServer
from xmailadmin.models import AuditEntry

pytestmark = pytest.mark.django_db
CHECK = "I have compared it with the one on the server"


@pytest.fixture(autouse=True)
def _brisk(brisk_ctrl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


def ctrl_fields(xmail: XMail, **changes: Any) -> dict[str, Any]:
    ports = {f"{name}_port": xmail.ports[name] for name in ("smtp", "pop3s")}
    return {
        "name": "mail1",
        "transport": "ctrl",
        "os": "unix",
        "mailroot": str(xmail.mailroot),
        "address": "127.0.0.1",
        "port": xmail.ports["ctrl"],
        "user": xmail.user,
        "password": xmail.password,
        **ENDPOINTS_OFF,
        **ports,
        **changes,
    }


def ssh_fields(server: SSHServer, mailroot: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "mail1",
        "transport": "sftp",
        "os": "unix",
        "mailroot": str(mailroot),
        "address": "127.0.0.1",
        "port": server.port,
        "user": server.user,
        "private_key": server.client_key.export_private_key().decode(),
        **ENDPOINTS_OFF,
        **changes,
    }


@pytest.fixture
def ctrl_host(admin_client: Client, xmail: XMail) -> Host:
    admin_client.post(reverse("host_add"), ctrl_fields(xmail, confirmed=OLD.sha256))
    return Host.objects.get()


def pairs_of(sha256: str) -> str:
    """A fingerprint in the words of a page; after each colon is a place to break the line."""
    return bytes.fromhex(sha256).hex(":").upper().replace(":", ": ")


def logins(xmail: XMail) -> int:
    return xmail.seen.logins + xmail.seen.failed_logins


def test_a_test_shows_the_identity_and_sends_nothing_before_it_is_confirmed(
    admin_client: Client, xmail: XMail
) -> None:
    address = reverse("host_mailroot_check")
    page = admin_client.post(address, ctrl_fields(xmail))
    assert CHECK in text(page)
    assert text(page).count(pairs_of(OLD.sha256)) == 2, "to be confirmed, and as what SMTP presents"
    assert OLD.sha256 not in text(page)
    assert f'value="{OLD.sha256}"' in page.content.decode()
    assert xmail.password not in page.content.decode()
    assert logins(xmail) == 0
    assert "SMTP + STARTTLS" in text(page)
    confirmed = admin_client.post(address, ctrl_fields(xmail, confirmed=OLD.sha256))
    assert "Logged in as admin" in text(confirmed)
    assert "A matching pair for old.test is installed there" in text(confirmed)
    assert f'type="hidden" name="confirmed" value="{OLD.sha256}"' in confirmed.content.decode()
    assert (xmail.seen.logins, Host.objects.count()) == (1, 0)


@pytest.mark.parametrize("registered", ["", "/somewhere/else"])
def test_by_ctrl_the_mailroot_is_xmails_own_whatever_is_registered(
    admin_client: Client, xmail: XMail, registered: str
) -> None:
    address = reverse("host_mailroot_check")
    sent = ctrl_fields(xmail, confirmed=OLD.sha256, mailroot=registered)
    page = text(admin_client.post(address, sent))
    assert "XMail shows its own MailRoot; reading a file there took" in page
    assert "is a MailRoot" not in page
    (xmail.mailroot / "server.tab").unlink()
    page = text(admin_client.post(address, sent))
    assert "XMail answers, but shows no server.tab in its MailRoot." in page


def test_the_identity_is_shown_in_pairs_as_its_tool_shows_it(
    admin_client: Client, ctrl_host: Host
) -> None:
    admin_client.get(reverse("host_list"))  # takes what registering had to say
    for address in (ctrl_host.get_absolute_url(), reverse("host_reenrol", args=[ctrl_host.pk])):
        page = text(admin_client.get(address))
        assert pairs_of(OLD.sha256) in page, address
        assert OLD.sha256 not in page, address


def test_registering_asks_to_confirm_first(admin_client: Client, xmail: XMail) -> None:
    asked = admin_client.post(reverse("host_add"), ctrl_fields(xmail))
    page = text(asked)
    assert page.index("first confirm that it is the right server") < page.index(CHECK)
    assert page.index(CHECK) < page.index("Password"), "what is asked is met before the fields"
    assert "Enter it again: it is never sent back to the browser." in page
    assert "Fill in the MailRoot" not in page
    assert logins(xmail) == 0
    admin_client.post(reverse("host_add"), ctrl_fields(xmail, confirmed=OLD.sha256))
    assert Host.objects.get().trust_fingerprint == OLD.sha256
    entry = AuditEntry.objects.get(action="host.add")
    assert entry.detail["trusted"] == OLD.sha256


def test_a_refused_log_in_is_told_once_and_asks_for_nothing_else(
    admin_client: Client, xmail: XMail
) -> None:
    fields = ctrl_fields(xmail, confirmed=OLD.sha256, password="wrong")
    page = text(admin_client.post(reverse("host_add"), fields))
    assert page.count("Bad controller login") == 1
    assert "marked fields" not in page, "no field is marked"
    assert "Fill in the MailRoot" not in page


def test_a_host_that_shows_another_identity_than_the_confirmed_one_gets_no_secret(
    admin_client: Client, xmail: XMail
) -> None:
    page = admin_client.post(reverse("host_add"), ctrl_fields(xmail, confirmed=NEW.sha256))
    assert "presents another certificate" in text(page)
    assert CHECK in text(page)
    assert (logins(xmail), Host.objects.count()) == (0, 0)


def test_what_is_no_fingerprint_is_refused(admin_client: Client, xmail: XMail) -> None:
    page = admin_client.post(reverse("host_add"), ctrl_fields(xmail, trust_fingerprint="MD5:ab"))
    assert "This is no SHA-256 fingerprint" in text(page)
    assert not Host.objects.exists()


def test_a_first_host_without_a_pair_is_registered_on_this_machine(
    admin_client: Client, xmail: XMail, mailroot: Path
) -> None:
    write_pair(mailroot, None, None)
    response = admin_client.post(reverse("host_add"), ctrl_fields(xmail), follow=True)
    assert "XMail has no usable pair yet" in text(response)
    assert "not confirmed yet" in text(response)
    assert Host.objects.get().trust_fingerprint == ""


def test_an_ssh_server_is_registered_with_its_key(
    admin_client: Client, ssh_server: SSHServer, mailroot: Path
) -> None:
    shown = ssh_server.host_key.get_fingerprint("sha256")
    sent = ssh_fields(ssh_server, mailroot)
    asked = admin_client.post(reverse("host_add"), sent)
    assert text(asked).count(shown) == 1
    assert "PRIVATE KEY" not in asked.content.decode(), "a secret is never sent back"
    confirmed = normal_fingerprint(shown)
    response = admin_client.post(reverse("host_add"), sent | {"confirmed": confirmed}, follow=True)
    assert "mail1 is registered." in text(response)
    assert shown in text(response)
    assert Host.objects.get().trust_fingerprint == confirmed


def test_an_edit_writes_only_what_it_changes(
    admin_client: Client, ctrl_host: Host, xmail: XMail
) -> None:
    Host.objects.update(token="t" * 16, state="ok")
    sent = ctrl_fields(xmail, password="", trust_fingerprint=OLD.sha256, memo="rack 3")
    assert "The changes are saved." in text(edit(admin_client, ctrl_host, sent, follow=True))
    ctrl_host.refresh_from_db()
    assert (ctrl_host.memo, ctrl_host.token, ctrl_host.state) == ("rack 3", "t" * 16, "ok")
    assert AuditEntry.objects.get(action="host.edit").detail == {"fields": ["memo"]}


def test_address_rules_hold_for_an_edit_too(
    admin_client: Client, ctrl_host: Host, xmail: XMail, settings: Any
) -> None:
    sent = ctrl_fields(xmail, trust_fingerprint=OLD.sha256, address="169.254.169.254")
    assert "cannot be the address of a mail server" in text(edit(admin_client, ctrl_host, sent))
    ctrl_host.refresh_from_db()
    assert ctrl_host.address == "127.0.0.1"


def test_a_test_of_an_edited_host_uses_the_secrets_that_are_stored(
    admin_client: Client, ctrl_host: Host, xmail: XMail
) -> None:
    before = xmail.seen.logins
    address = reverse("host_edit_check", args=[ctrl_host.pk])
    assert address in admin_client.get(reverse("host_edit", args=[ctrl_host.pk])).content.decode()
    sent = ctrl_fields(xmail, password="", trust_fingerprint=OLD.sha256)
    assert "Logged in as admin" in text(admin_client.post(address, sent))
    assert xmail.seen.logins == before + 1


# Trusting a new identity.


def test_a_changed_certificate_is_looked_at_compared_and_trusted(
    admin_client: Client, ctrl_host: Host, xmail: XMail, mailroot: Path
) -> None:
    write_pair(mailroot, NEW.key, NEW.certificate)
    before = logins(xmail)
    address = reverse("host_reenrol", args=[ctrl_host.pk])
    assert pairs_of(OLD.sha256) in text(admin_client.get(address))
    looked = text(admin_client.post(address))
    assert "The host shows another identity than the trusted one." in looked
    assert looked.count(pairs_of(NEW.sha256)) == 1
    assert logins(xmail) == before
    wrong = text(admin_client.post(address, {"confirmed": "ab" * 32}))
    assert "yet another identity" in wrong
    assert logins(xmail) == before
    ctrl_host.refresh_from_db()
    assert ctrl_host.trust_fingerprint == OLD.sha256
    done = text(admin_client.post(address, {"confirmed": NEW.sha256}, follow=True))
    assert "mail1 is trusted with this identity now." in done
    ctrl_host.refresh_from_db()
    assert ctrl_host.trust_fingerprint == NEW.sha256
    entry = AuditEntry.objects.get(action="host.trust")
    assert entry.detail == {"trusted": NEW.sha256, "before": OLD.sha256}


def test_an_unchanged_identity_needs_nothing(
    admin_client: Client, ctrl_host: Host, ssh_server: SSHServer, mailroot: Path
) -> None:
    address = reverse("host_reenrol", args=[ctrl_host.pk])
    assert "nothing needs to be done" in text(admin_client.post(address))


def test_a_new_ssh_key_is_trusted_though_the_log_in_fails_then(
    admin_client: Client, ssh_server: SSHServer, mailroot: Path
) -> None:
    met = normal_fingerprint(ssh_server.host_key.get_fingerprint("sha256"))
    sent = ssh_fields(ssh_server, mailroot, confirmed=met)
    admin_client.post(reverse("host_add"), sent)
    host = Host.objects.get()
    Host.objects.update(trust_fingerprint="cd" * 32, user="nobody-of-this-name")
    address = reverse("host_reenrol", args=[host.pk])
    assert "another identity than the trusted one" in text(admin_client.post(address))
    done = text(admin_client.post(address, {"confirmed": met}, follow=True))
    assert "is trusted with this identity now" in done
    assert "refuses the login of nobody-of-this-name" in done


def test_a_local_host_has_no_identity(admin_client: Client, mailroot: Path) -> None:
    host = Host.objects.create(name="mail1", mailroot=str(mailroot), **ENDPOINTS_OFF)
    response = admin_client.get(reverse("host_reenrol", args=[host.pk]))
    assert response["Location"] == host.get_absolute_url()
