"""Whom the portal takes a host for: what is stored, and what is installed, goes to nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse

from certs.models import Pair
from hosts import deploy, identity, ledger, turns
from hosts.models import Deployment, Host, Installation
from hosts.transports import Target
from tests.doubles.mailroot import write_pair
from tests.doubles.xmail import XMail
from tests.factories import issued_pair
from tests.hosts.ctrl.cases import NEW, OLD
from tests.hosts.pages import edit, text
from tests.hosts.test_views_enrolment import ctrl_fields, ctrl_host, logins
from xmailadmin import celery
from xmailadmin.models import AuditEntry

__all__ = ["ctrl_host"]  # a fixture
pytestmark = pytest.mark.django_db
BEGUN = "An installation has begun on this host"
Status = Installation.Status


@pytest.fixture(autouse=True)
def _alone(brisk_ctrl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")
    monkeypatch.setattr(celery, "ring", lambda *_arguments: True)


Change = Callable[[Client, Host, XMail], Any]


def trusts_another(client: Client, host: Host, _xmail: XMail) -> Any:
    address = reverse("host_reenrol", args=[host.pk])
    return client.post(address, {"confirmed": NEW.sha256}, follow=True)


def edits_whom(client: Client, host: Host, xmail: XMail) -> Any:
    sent = ctrl_fields(xmail, trust_fingerprint=NEW.sha256)
    return edit(client, host, sent, follow=True)


def allows_plain(client: Client, host: Host, xmail: XMail) -> Any:
    sent = ctrl_fields(xmail, trust_fingerprint=NEW.sha256, allow_plain_key="on")
    return edit(client, host, sent, follow=True)


def begin(host: Host, *, half_done: bool) -> None:
    """A worker installs a pair on the host, or has died in the midst of it."""
    deploy.create_deployment(issued_pair(), [host], by=None)
    token, _rows = ledger._claim(turns.ready())
    if half_done:
        Installation.objects.update(adopted=True, lease_until=None, token="")
        Host.objects.filter(token=token).update(lease_until=None, token="")


CHANGES = pytest.mark.parametrize("change", [trusts_another, edits_whom, allows_plain])


@CHANGES
def test_what_waits_is_not_installed_on_somebody_else(
    admin_client: Client, ctrl_host: Host, xmail: XMail, mailroot: Path, change: Change
) -> None:
    deployment = deploy.create_deployment(issued_pair(), [ctrl_host], by=None)
    write_pair(mailroot, NEW.key, NEW.certificate)
    page = text(change(admin_client, ctrl_host, xmail))
    assert "The changes are saved." in page or "trusted with this identity now" in page
    assert ledger.run_next() == []
    turns.sweep()
    deployment.refresh_from_db()
    assert deployment.finished
    row = deployment.installations.get()
    assert row.status == Status.CANCELLED
    shown = text(admin_client.get(row.get_absolute_url()))
    assert "somebody changed whom the portal takes this host for" in shown
    assert (mailroot / "server.key").read_bytes() == NEW.key


@CHANGES
@pytest.mark.parametrize("half_done", [False, True])
def test_a_host_is_nobody_else_while_a_pair_is_installed_on_it(
    admin_client: Client, ctrl_host: Host, xmail: XMail, mailroot: Path,
    change: Change, half_done: bool,
) -> None:  # fmt: skip
    begin(ctrl_host, half_done=half_done)
    write_pair(mailroot, NEW.key, NEW.certificate)
    before = logins(xmail)
    assert BEGUN in text(change(admin_client, ctrl_host, xmail))
    ctrl_host.refresh_from_db()
    assert (ctrl_host.trust_fingerprint, ctrl_host.allow_plain_key) == (OLD.sha256, False)
    assert not AuditEntry.objects.filter(action__in=("host.trust", "host.edit")).exists()
    if change is trusts_another:
        assert logins(xmail) == before


def test_a_host_that_becomes_somebody_else_as_it_is_chosen_is_chosen_again(
    admin_client: Client, ctrl_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = deploy.create_deployment

    def late(pair: Pair, hosts: QuerySet[Host], **more: Any) -> Deployment:
        loaded = list(hosts)
        Host.objects.update(trust_fingerprint=NEW.sha256)
        return usual(pair, loaded, **more)

    monkeypatch.setattr(deploy, "create_deployment", late)
    address = reverse("deployment_new", args=[issued_pair().pk])
    page = text(admin_client.post(address, {"which": "all", "judged": "x"}))
    assert "One of these hosts was changed, disabled or deleted meanwhile" in page
    assert not Deployment.objects.exists()


@pytest.mark.parametrize("half_done", [False, True])
def test_a_host_is_not_deleted_while_a_pair_is_installed_on_it(
    admin_client: Client, ctrl_host: Host, half_done: bool
) -> None:
    begin(ctrl_host, half_done=half_done)
    address = reverse("host_delete", args=[ctrl_host.pk])
    assert BEGUN in text(admin_client.post(address, follow=True))
    assert Host.objects.exists()
    assert not AuditEntry.objects.filter(action="host.delete").exists()


def test_what_a_host_left_that_was_deleted_in_its_midst_ends(ctrl_host: Host) -> None:
    """Portals of before let that happen."""
    deployment = deploy.create_deployment(issued_pair(), [ctrl_host], by=None)
    ledger._claim(turns.ready())
    Installation.objects.update(adopted=True, lease_until=None, token="")
    Host.objects.all().delete()
    turns.settle(Deployment.objects.all())
    deployment.refresh_from_db()
    assert deployment.finished
    assert deployment.counts() == {"CANCELLED": 1}


def test_a_host_that_is_deleted_as_it_is_trusted_is_gone(
    admin_client: Client, ctrl_host: Host, xmail: XMail, mailroot: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_pair(mailroot, NEW.key, NEW.certificate)
    usual = identity.trust

    def late(host: Host, fingerprint: str, **by: Any) -> None:
        Host.objects.filter(pk=host.pk).delete()
        usual(host, fingerprint, **by)

    monkeypatch.setattr(identity, "trust", late)
    assert trusts_another(admin_client, ctrl_host, xmail).status_code == 404


def test_to_trust_whom_one_trusts_already_ends_nothing(
    admin_client: Client, ctrl_host: Host
) -> None:
    deployment = deploy.create_deployment(issued_pair(), [ctrl_host], by=None)
    address = reverse("host_reenrol", args=[ctrl_host.pk])
    page = text(admin_client.post(address, {"confirmed": OLD.sha256}, follow=True))
    assert "trusted with this identity now" in page
    assert deployment.counts() == {"QUEUED": 1}
    assert not AuditEntry.objects.filter(action="host.trust").exists()


def test_a_directory_of_this_machine_needs_no_password(
    admin_client: Client, ctrl_host: Host, xmail: XMail
) -> None:
    sent = ctrl_fields(xmail, password="", transport="local")
    assert "The changes are saved." in text(edit(admin_client, ctrl_host, sent, follow=True))


def test_who_is_trusted_is_on_record_before_anything_is_sent_there(
    admin_client: Client, ctrl_host: Host, mailroot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(mailroot, NEW.key, NEW.certificate)
    usual = identity.log_in
    on_record: list[Any] = []

    async def log_in(target: Target) -> Any:
        return await usual(target)

    def seen(target: Target) -> Any:
        on_record.extend(AuditEntry.objects.filter(action="host.trust").values_list("detail"))
        on_record.append(target.trust_fingerprint)
        return log_in(target)

    monkeypatch.setattr(identity, "log_in", seen)
    trusts_another(admin_client, ctrl_host, None)  # type: ignore[arg-type]
    assert on_record == [({"trusted": NEW.sha256, "before": OLD.sha256},), NEW.sha256]


def test_whoever_is_not_trusted_in_the_end_was_sent_nothing(
    admin_client: Client, ctrl_host: Host, xmail: XMail, mailroot: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_pair(mailroot, NEW.key, NEW.certificate)
    usual = identity.confirm

    def confirm(target: Target, fingerprint: str) -> Any:
        Host.objects.update(user="of-a-colleague")
        return usual(target, fingerprint)

    monkeypatch.setattr(identity, "confirm", confirm)
    before = logins(xmail)
    assert "Somebody changed this host meanwhile" in text(
        trusts_another(admin_client, ctrl_host, xmail)
    )
    assert logins(xmail) == before


@pytest.mark.parametrize(
    "change",
    [
        {"confirmed": NEW.sha256}, {"trust_fingerprint": NEW.sha256}, {"trust_fingerprint": ""},
        {"user": "somebody"}, {"allow_plain_key": "on"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
@pytest.mark.parametrize("name", ["host_edit", "host_edit_check"])
def test_a_look_sends_what_is_stored_only_to_whom_it_is_registered_for(
    admin_client: Client, ctrl_host: Host, xmail: XMail, mailroot: Path,
    change: dict[str, str], name: str,
) -> None:  # fmt: skip
    write_pair(mailroot, NEW.key, NEW.certificate)
    before = logins(xmail)
    sent = ctrl_fields(xmail, password="", trust_fingerprint=OLD.sha256, name="") | change
    if name == "host_edit":
        page = text(edit(admin_client, ctrl_host, sent))
    else:
        page = text(admin_client.post(reverse(name, args=[ctrl_host.pk]), sent))
    assert "Enter it again, because what is stored is sent only to the identity" in page
    assert logins(xmail) == before
    entered = text(edit(admin_client, ctrl_host, sent | {"password": xmail.password}))
    assert "Enter it again, because" not in entered
