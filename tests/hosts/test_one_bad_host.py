"""A silent host costs the others nothing, and nobody waits for it to see their outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import deploy, ledger
from hosts.models import Deployment, Diagnosis, Host, Installation
from hosts.transports import CtrlTransport
from hosts.transports.local import LocalTransport
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.doubles.wire import Faults
from tests.doubles.xmail import XMail
from tests.factories import ENDPOINTS_OFF, issued_pair, local_host

pytestmark = pytest.mark.django_db
SILENT_S = 3.0  # until the portal gives the silent host up
TOLERANCE_S = 1.5  # for a machine that is busy with something else
GOOD = 99


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host that accepts connections and says nothing."""
    monkeypatch.setattr(CtrlTransport, "timeout_s", SILENT_S)
    pair = make_pair("silent.test")
    mailroot = make_mailroot(tmp_path / "silent", key=pair.key, certificate=pair.certificate)
    with XMail(mailroot, services=["ctrl"], faults=Faults(silent_at="connect")) as xmail:
        values = {**ENDPOINTS_OFF, "port": xmail.ports["ctrl"], "user": xmail.user}
        host = Host.objects.create(
            name="m050-silent", transport="ctrl", trust_fingerprint=pair.sha256, **values
        )
        host.keep_secrets(password=xmail.password)
        yield host


def seconds(deployment: Deployment) -> float:
    """How long it took until the last host that succeeded was finished."""
    good = deployment.installations.filter(status="INSTALLED").order_by("-finished_at")
    last = good.values_list("finished_at", flat=True).first()
    assert last is not None
    return (last - deployment.created_at).total_seconds()


def test_the_others_are_neither_delayed_nor_stopped(tmp_path: Path, silent: Host) -> None:
    hosts = [local_host(tmp_path, f"m{number:03}") for number in range(GOOD)]
    usual = deploy.create_deployment(issued_pair(), hosts, by=None)
    assert [row.status for row in ledger.work(usual)] == ["INSTALLED"] * GOOD
    pair = issued_pair(common_name="mail2.dojo.jp")
    troubled = deploy.create_deployment(
        pair, Host.objects.exclude(disabled=True).order_by("name"), by=None
    )
    told = [row.host_name for row in ledger.work(troubled)]
    assert troubled.counts() == {"INSTALLED": GOOD, "FAILED": 1}
    assert seconds(troubled) <= seconds(usual) * 1.1 + TOLERANCE_S
    assert told[-1] == silent.name, "its outcome comes last, those of the others as they are known"
    row = Installation.objects.get(deployment=troubled, host=silent)
    assert row.message is not None
    assert row.message["code"] == "ctrl.silent"


def test_a_host_that_shows_a_fault_of_the_portal_spoils_no_look_at_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [local_host(tmp_path, f"m{number}") for number in range(3)]
    usual = LocalTransport.connect

    async def fail(self: LocalTransport) -> None:
        if self.target.mailroot.endswith("m1"):
            raise RuntimeError("what nobody has thought of")
        await usual(self)

    monkeypatch.setattr(LocalTransport, "connect", fail)
    Diagnosis.objects.take(hosts)
    told = {row.host.name: row.facts["error"] for row in Diagnosis.objects.order_by("host")}
    assert {name: error and error["code"] for name, error in told.items()} == {
        "m0": None, "m1": "deploy.errored", "m2": None
    }  # fmt: skip
