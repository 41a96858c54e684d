"""Hosts that may hold half a pair: tried again with pauses, and put right after two workers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.db.models import F
from pytest_django.fixtures import Settings

from certs.models import Pair, lease
from hosts import addresses, by_hand, deploy, ledger, turns
from hosts.fan_out import FanOut, Job
from hosts.models import Deployment, Host, Installation
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.factories import ENDPOINTS_OFF, files, issued_pair, local_host, on_disk
from tests.hosts.memory import OLD_FILES

pytestmark = pytest.mark.django_db
Status = Installation.Status


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return local_host(tmp_path)


@pytest.fixture
def interrupted(host: Host) -> Installation:
    """A dead worker's: the host has the new key and the old certificate, and cannot be reached."""
    old, new = issued_pair(), issued_pair(common_name="new.dojo.jp")
    write_pair(Path(host.mailroot), files(new)[0], files(old)[1])
    shutil.move(host.mailroot, host.mailroot + ".away")
    deployment = deploy.create_deployment(new, [host], by=None)
    deployment.installations.update(previous_pair=old, adopted=True)
    return deployment.installations.get()


def wait_over(row: Installation) -> None:
    """Let the pause run out."""
    for model in (Installation.objects.filter(pk=row.pk), Host.objects.filter(installations=row)):
        model.update(token=F("token"), lease_until=None)


def test_a_host_that_may_hold_a_mixture_is_tried_again(
    host: Host, interrupted: Installation
) -> None:
    ledger.run([interrupted.pk])
    interrupted.refresh_from_db()
    assert interrupted.status == Status.RUNNING
    assert interrupted.message == {"code": "install.unknown_state", "params": {}}
    assert not turns.ready().exists(), "its pause has not run out"
    shutil.move(host.mailroot + ".away", host.mailroot)
    wait_over(interrupted)
    ledger.run([interrupted.pk])
    interrupted.refresh_from_db()
    assert interrupted.status == Status.INSTALLED
    assert on_disk(host) == files(interrupted.pair or Pair())


def test_a_host_that_refuses_is_given_up_with_the_reason(
    host: Host, interrupted: Installation
) -> None:
    for _ in range(ledger.MOST_REFUSALS):
        ledger.run([interrupted.pk])
        wait_over(interrupted)
    interrupted.refresh_from_db()
    assert interrupted.status == Status.FAILED
    assert interrupted.attempts == ledger.MOST_REFUSALS
    assert interrupted.message == {"code": "install.unknown_state", "params": {}}
    assert [note["code"] for note in interrupted.notes] == ["transport.mailroot_missing"]
    assert interrupted.previous_pair is not None


def test_what_an_earlier_try_met_is_told_at_the_end(host: Host, interrupted: Installation) -> None:
    for number in range(ledger.MOST_REFUSALS):
        ledger.run([interrupted.pk])
        wait_over(interrupted)
        if number == 0:
            Path(host.mailroot).mkdir()
    interrupted.refresh_from_db()
    assert interrupted.status == Status.FAILED
    told = [note["code"] for note in interrupted.notes]
    assert told == ["transport.mailroot_missing", "install.no_mailroot"]


@pytest.mark.parametrize("allowed", [True, False])
def test_a_login_in_clear_needs_a_switch_that_was_begun_and_the_portals_leave(
    host: Host,
    interrupted: Installation,
    allowed: bool,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.CTRL_CLEAR_RECOVERY = allowed
    jobs: list[Job] = []

    async def only_noted(_self: FanOut, given: Sequence[Job]) -> None:
        jobs.extend(given)

    monkeypatch.setattr(FanOut, "do", only_noted)
    for code in ("install.adopting", "install.switching", "install.finishing_in_clear"):
        step = "ADOPT" if code == "install.adopting" else "SWITCH"
        interrupted.steps.append({"step": step, "at": "", "message": {"code": code, "params": {}}})
        interrupted.save()
        ledger.run([interrupted.pk])
        wait_over(interrupted)
    assert [job.order.switched for job in jobs] == [False, True, True]
    assert [job.order.was_in_clear for job in jobs] == [False, False, True], "once is all"
    assert {job.target.clear_recovery for job in jobs} == {allowed}


def test_what_lies_in_sslconf_is_no_reason_to_log_in_in_clear(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CTRL_CLEAR_RECOVERY = True
    monkeypatch.setattr(addresses, "is_loopback", lambda ip: False)
    old = issued_pair()
    root = make_mailroot(tmp_path / "MailRoot", key=b"no key\n", certificate=files(old)[1])
    with XMail(root, services=("ctrl",)) as xmail:
        host = by_ctrl(xmail, old)
        switching = {"step": "SWITCH", "at": "", "message": {"code": "install.switching"}}
        deployment = deploy.create_deployment(issued_pair(), [host], by=None, place_only=True)
        deployment.installations.update(previous_pair=old, adopted=True, steps=[switching])
        row = deployment.installations.get()
        for _ in range(ledger.MOST_REFUSALS):
            ledger.run([row.pk])
            wait_over(row)
        assert (xmail.seen.clear_logins, xmail.seen.logins) == (0, 0)
    row.refresh_from_db()
    assert row.status == Status.FAILED
    assert row.message is not None
    assert row.message["code"] == "install.unknown_state"


@pytest.mark.parametrize("allowed", [True, False])
def test_over_all_tries_there_is_one_login_in_clear_and_then_the_file_to_copy(
    tmp_path: Path, allowed: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody in between breaks TLS, each time: he is given one answer to relay, or none."""
    settings.CTRL_CLEAR_RECOVERY = allowed
    monkeypatch.setattr(addresses, "is_loopback", lambda ip: False)
    old, new = issued_pair(), issued_pair(common_name="new.dojo.jp")
    root = make_mailroot(tmp_path / "MailRoot", key=b"no key\n", certificate=files(old)[1])
    with XMail(root, services=("ctrl",)) as xmail:
        host = by_ctrl(xmail, old)
        switching = {"step": "SWITCH", "at": "", "message": {"code": "install.switching"}}
        deployment = deploy.create_deployment(new, [host], by=None)
        deployment.installations.update(previous_pair=old, adopted=True, steps=[switching])
        row = deployment.installations.get()
        for _ in range(ledger.MOST_REFUSALS):
            ledger.run([row.pk])
            wait_over(row)
        assert (xmail.seen.clear_logins, xmail.seen.logins) == (int(allowed), int(allowed))
    row.refresh_from_db()
    assert (row.status, row.attempts) == (Status.FAILED, ledger.MOST_REFUSALS)
    by_hand = {"code": "install.by_hand", "params": {"path": f"{root}/server.cert"}}
    assert row.message == by_hand


def test_each_pause_is_twice_as_long(host: Host, interrupted: Installation) -> None:
    ends = []
    for _ in range(2):
        ledger.run([interrupted.pk])
        interrupted.refresh_from_db()
        assert interrupted.lease_until is not None
        ends.append(interrupted.lease_until.timestamp() - time.monotonic())
        wait_over(interrupted)
    assert 1.8 < ends[1] / ends[0] < 2.2


def test_half_a_pair_is_kept_byte_for_byte(host: Host) -> None:
    pair = make_pair()
    for held in ((pair.key, None), (None, b"no certificate\r\n"), (b"", pair.certificate)):
        write_pair(Path(host.mailroot), *held)
        deployment = deploy.create_deployment(issued_pair(), [host], by=None)
        (row,) = ledger.work(deployment)
        assert row.status == Status.INSTALLED
        assert row.previous_pair is not None
        assert files(row.previous_pair) == held


# --- Two workers -------------------------------------------------------------------------------


def overwritten(host: Host, deployment: Deployment) -> Installation:
    """A worker of this deployment stood still, and writes its key when it wakes."""
    row = deployment.installations.get()
    key, _ = files(row.pair or Pair())
    write_pair(Path(host.mailroot), key, on_disk(host)[1])
    return row


def test_what_a_late_worker_wrote_is_put_right(host: Host) -> None:
    first, second = (
        deploy.create_deployment(issued_pair(common_name=f"m{number}.dojo.jp"), [host], by=None)
        for number in (1, 2)
    )
    for deployment in (first, second):
        list(ledger.work(deployment))
    again = deploy.put_right(overwritten(host, first))
    assert again is not None
    (row,) = ledger.work(again)
    assert row.status == Status.INSTALLED
    assert on_disk(host) == files(second.pair or Pair())
    assert row.steps[0]["step"] == "SWITCH", "the late worker's, which this one takes over"


def test_what_somebody_kept_since_is_what_is_put_right(host: Host) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    list(ledger.work(deployment))
    by_hand_pair = make_pair("by-hand.test")
    write_pair(Path(host.mailroot), by_hand_pair.key, by_hand_pair.certificate)
    host.refresh_from_db()
    by_hand.adopt(host, by=None)
    again = deploy.put_right(overwritten(host, deployment))
    assert again is not None
    list(ledger.work(again))
    assert on_disk(host) == (by_hand_pair.key, by_hand_pair.certificate)


def test_what_puts_right_may_log_in_in_clear_by_itself(host: Host) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    list(ledger.work(deployment))
    row = overwritten(host, deployment)
    in_clear = {"step": "SWITCH", "at": "", "message": {"code": "install.finishing_in_clear"}}
    row.steps.append(in_clear)
    again = deploy.put_right(row)
    assert again is not None
    (queued,) = again.installations.all()
    assert [step["message"]["code"] for step in queued.steps] == ["install.switching"]


def test_after_a_failure_the_pair_from_before_is_what_is_right(host: Host) -> None:
    make_mailroot(Path(host.mailroot), key=OLD_FILES.key, certificate=OLD_FILES.certificate)
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    (row,) = ledger.work(deployment)
    Installation.objects.filter(pk=row.pk).update(status=Status.ROLLED_BACK)
    again = deploy.put_right(overwritten(host, deployment))
    assert again is not None
    list(ledger.work(again))
    assert on_disk(host) == (OLD_FILES.key, OLD_FILES.certificate)


def by_ctrl(xmail: XMail, presented: Pair) -> Host:
    """A host that is this XMail, known by the certificate that it presents."""
    host = Host.objects.create(
        name="mail1", transport="ctrl", address=xmail.address, port=xmail.ports["ctrl"],
        user=xmail.user, mailroot=str(xmail.mailroot), trust_fingerprint=presented.sha256,
        **ENDPOINTS_OFF,
    )  # fmt: skip
    host.keep_secrets(password=xmail.password)
    return host


def installed(pair: Pair, host: Host) -> Deployment:
    host.refresh_from_db()  # the certificate of the last one is what it is known by
    deployment = deploy.create_deployment(pair, [host], by=None)
    assert [row.status for row in ledger.work(deployment)] == [Status.INSTALLED]
    return deployment


@pytest.fixture
def pairs() -> list[Pair]:
    return [issued_pair(common_name=f"m{number}.dojo.jp") for number in range(3)]


@pytest.fixture
def xmail(tmp_path: Path, pairs: list[Pair]) -> Iterator[XMail]:
    """It presents the first pair."""
    key, certificate = files(pairs[0])
    root = make_mailroot(tmp_path / "MailRoot", key=key, certificate=certificate)
    with XMail(root, services=("ctrl",)) as xmail:
        yield xmail


@pytest.mark.usefixtures("brisk_ctrl")
@pytest.mark.parametrize("left", [0, 1], ids=["restored", "installed"])
def test_a_late_worker_is_put_right_by_ctrl_whatever_it_left(
    xmail: XMail, pairs: list[Pair], left: int
) -> None:
    host = by_ctrl(xmail, pairs[0])
    first = installed(pairs[1], host)
    installed(pairs[2], host)
    write_pair(xmail.mailroot, *files(pairs[left]))
    again = deploy.put_right(first.installations.get())
    assert again is not None
    assert [row.status for row in ledger.work(again)] == [Status.INSTALLED]
    assert on_disk(host) == files(pairs[2])


@pytest.mark.usefixtures("brisk_ctrl")
@pytest.mark.parametrize("shown", [0, 1], ids=["two generations back", "the last one"])
def test_no_key_goes_to_whoever_presents_what_an_earlier_installation_left(
    xmail: XMail, pairs: list[Pair], shown: int
) -> None:
    """Its key got out and the host was given another one by hand, or it is the former place."""
    host = by_ctrl(xmail, pairs[0])
    installed(pairs[1], host)
    write_pair(xmail.mailroot, *files(pairs[shown]))
    now = issued_pair(common_name="now.dojo.jp")
    Host.objects.update(trust_fingerprint=now.sha256)
    host.refresh_from_db()
    logins = xmail.seen.logins
    deployment = deploy.create_deployment(pairs[2], [host], by=None)
    switching = {"step": "SWITCH", "at": "", "message": {"code": "install.switching"}}
    deployment.installations.update(previous_pair=now, adopted=True, steps=[switching])
    row = deployment.installations.get()
    for _ in range(ledger.MOST_REFUSALS):
        ledger.run([row.pk])
        wait_over(row)
    row.refresh_from_db()
    assert row.status == Status.FAILED
    assert "ctrl.wrong_certificate" in [note["code"] for note in row.notes]
    assert (xmail.seen.logins, on_disk(host)) == (logins, files(pairs[shown]))
    assert Host.objects.get().trust_fingerprint == now.sha256


def test_nothing_is_put_right_on_a_host_that_was_disabled_but_said(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    list(ledger.work(deployment))
    row = overwritten(host, deployment)
    deploy.disable(host, by=None)
    assert deploy.put_right(row) is None
    assert f"Two workers met at {host.name}, which is disabled now" in caplog.text


def test_what_a_late_worker_wrote_is_put_right_though_the_host_was_registered_anew(
    host: Host,
) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    list(ledger.work(deployment))
    row = overwritten(host, deployment)
    deploy.delete(host, by=None)
    anew = Host.objects.create(name="anew", mailroot=host.mailroot, **ENDPOINTS_OFF)
    pair = issued_pair()
    list(ledger.work(deploy.create_deployment(pair, [anew], by=None)))
    write_pair(Path(host.mailroot), *files(row.pair))  # type: ignore[arg-type]
    again = deploy.put_right(row)
    assert again is not None
    list(ledger.work(again))
    assert on_disk(anew) == files(pair)


def test_a_host_of_which_nothing_is_known_is_left_alone(host: Host) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    deployment.installations.update(status=Status.CANCELLED)
    assert deploy.put_right(deployment.installations.get()) is None


# --- The clock of leases -----------------------------------------------------------------------


@pytest.mark.parametrize(("lease_s", "free"), [(-1, True), (20, False), (86400, True)])
def test_only_a_lease_that_can_be_is_one(host: Host, lease_s: int, free: bool) -> None:
    """One that ends in a day was written before the clock was set back, or by a restarted one."""
    Host.objects.update(lease_until=lease.lease_now(lease_s * lease.LEASE / lease.LEASE.seconds))
    assert Host.objects.filter(lease.free()).exists() == free
