"""What the inventory says after an outcome, and that a host's address is judged anew each time."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from certs.models import Pair
from hosts import deploy, ledger
from hosts.aftermath import host_values
from hosts.install import Outcome
from hosts.messages import Message
from hosts.models import Deployment, Diagnosis, Host, Installation
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.factories import ENDPOINTS_OFF, issued_pair

pytestmark = pytest.mark.django_db
Kind = Deployment.Kind


@pytest.fixture
def pairs() -> tuple[Pair, Pair]:
    return issued_pair(), issued_pair(common_name="mail2.dojo.jp")


def values(
    pairs: tuple[Pair, Pair], status: str, transport: str = "ctrl", kind: str = Kind.INSTALL,
    note: str = "",
) -> dict[str, Any]:  # fmt: skip
    previous, pair = pairs
    deployment = Deployment(kind=kind)
    host = Host(name="mail1", transport=transport)
    row = Installation(deployment=deployment, host=host, pair=pair, previous_pair=previous)
    notes = [Message(note)] if note else []
    return host_values(row, Outcome(status, Message("x"), notes=notes), timezone.now())


@pytest.mark.parametrize(
    ("status", "trusted"),
    [
        ("INSTALLED", 1), ("UNCHANGED", 1), ("ROLLED_BACK", None), ("FAILED", None),
        ("ERRORED", None),
    ],
)  # fmt: skip
def test_trust_moves_only_to_a_certificate_that_was_verified(
    pairs: tuple[Pair, Pair], status: str, trusted: int | None
) -> None:
    expected = None if trusted is None else pairs[trusted].sha256
    assert values(pairs, status).get("trust_fingerprint") == expected


def test_what_somebody_put_there_is_not_on_record_by_being_put_back(tmp_path: Path) -> None:
    """Its owner presents his own pair, whatever is installed: people decide, when they see it."""
    mailroot = make_mailroot(tmp_path / "MailRoot")
    recorded, strange = issued_pair(), make_pair("strange.test")
    elsewhere = make_mailroot(tmp_path / "x", key=strange.key, certificate=strange.certificate)
    write_pair(mailroot, strange.key, strange.certificate)
    with XMail(elsewhere, services=("pop3s",)) as xmail:
        ports = {**ENDPOINTS_OFF, "pop3s_port": xmail.ports["pop3s"]}
        host = Host.objects.create(name="mail1", mailroot=str(mailroot), pair=recorded, **ports)
        (row,) = ledger.work(deploy.create_deployment(recorded, [host], by=None))
        assert row.status == "ROLLED_BACK"
        host.refresh_from_db()
        assert host.pair == recorded
        assert host.diagnosis.standing == Diagnosis.Standing.DIFFERS
        assert host.state != "ok"


@pytest.mark.parametrize("transport", ["local", "sftp"])
def test_elsewhere_trust_has_nothing_to_do_with_the_pair(
    pairs: tuple[Pair, Pair], transport: str
) -> None:
    assert "trust_fingerprint" not in values(pairs, "INSTALLED", transport)


@pytest.mark.parametrize("status", ["PLACED", "UNCHANGED", "ROLLED_BACK"])
def test_placing_changes_nothing_that_xmail_uses(pairs: tuple[Pair, Pair], status: str) -> None:
    assert values(pairs, status, kind=Kind.PLACE) == {}


def test_a_key_that_ctrl_left_open_is_remembered_until_it_is_gone(
    pairs: tuple[Pair, Pair],
) -> None:
    assert values(pairs, "INSTALLED", note="install.mode_0666")["key_open"]
    assert values(pairs, "FAILED", note="install.mode_0666")["key_open"]
    assert "key_open" not in values(pairs, "INSTALLED")
    assert values(pairs, "REMOVED")["key_open"] is False


def test_what_a_host_was_known_by_goes_with_its_pair(pairs: tuple[Pair, Pair]) -> None:
    """On this machine the next pair could not come else: there is no TLS to recognise it by."""
    assert values(pairs, "REMOVED")["trust_fingerprint"] == ""


def test_networks_that_were_forbidden_since_are_not_connected_to(
    tmp_path: Path, settings: Any
) -> None:
    old = make_pair("old.test")
    mailroot = make_mailroot(tmp_path / "MailRoot", key=old.key, certificate=old.certificate)
    with XMail(mailroot) as xmail:
        named = {**ENDPOINTS_OFF, "smtp_port": xmail.ports["smtp"], "port": xmail.ports["ctrl"]}
        host = Host.objects.create(
            name="mail1", transport="ctrl", trust_fingerprint=old.sha256, user=xmail.user, **named
        )
        host.keep_secrets(password=xmail.password)
        settings.ALLOWED_NETWORKS = (ip_network("192.0.2.0/24"),)
        (row,) = ledger.work(deploy.create_deployment(issued_pair(), [host], by=None))
        assert row.message is not None
        assert row.message["code"] == "address.not_in_allowed_networks"
        (diagnosis,) = Diagnosis.objects.take([host])
        assert diagnosis.facts["error"]["code"] == "address.not_in_allowed_networks"
        assert not xmail.seen.connections
