"""Deployments from the request to the row of history, on real MailRoots."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.utils import timezone

from certs.models import Pair
from hosts import deploy, fan_out, ledger, turns
from hosts.models import Deployment, Host, Installation
from tests.doubles.mailroot import write_pair
from tests.doubles.xmail import XMail
from tests.factories import files, issued_pair, local_host, on_disk, pair_spec
from xmailadmin.models import AuditEntry, User

pytestmark = pytest.mark.django_db
Status = Installation.Status


@pytest.fixture
def hosts(tmp_path: Path) -> list[Host]:
    return [local_host(tmp_path, f"mail{number}") for number in (1, 2, 3)]


def claim(ids: list[int]) -> tuple[str, list[Installation]]:
    return ledger._claim(turns.ready().filter(pk__in=ids))


def done(deployment: Deployment) -> list[Installation]:
    return sorted(ledger.work(deployment), key=lambda row: row.pk)


def test_one_pair_reaches_every_host_byte_for_byte(hosts: list[Host]) -> None:
    pair = issued_pair()
    rows = done(deploy.create_deployment(pair, hosts, by=None))
    assert [row.status for row in rows] == [Status.INSTALLED] * 3
    for host in hosts:
        assert on_disk(host) == files(pair)
        assert os.stat(f"{host.mailroot}/server.key").st_mode & 0o777 == 0o600
        host.refresh_from_db()
        assert host.pair == pair
        assert host.token == ""


def test_the_history_says_who_what_before_and_every_step(hosts: list[Host]) -> None:
    person = User.objects.create_user("hanako")
    first, second = issued_pair(), issued_pair(common_name="mail2.dojo.jp")
    done(deploy.create_deployment(first, hosts[:1], by=None))
    (row,) = done(deploy.create_deployment(second, hosts[:1], by=person))
    assert row.deployment.created_by_name == "hanako"
    assert row.previous_pair == first
    steps = [step["step"] for step in row.steps]
    assert steps[:2] == ["CONNECT", "ADOPT"]
    assert steps.index("STAGE") < steps.index("SWITCH") < steps.index("READ_BACK")
    times = [step["at"] for step in row.steps]
    assert times == sorted(times)
    assert row.client_notes is not None
    assert row.client_notes.content["notes"]
    assert AuditEntry.objects.filter(action="deployment.install", actor=person).exists()


def test_the_same_pair_again_is_unchanged(hosts: list[Host]) -> None:
    pair = issued_pair()
    done(deploy.create_deployment(pair, hosts[:1], by=None))
    (row,) = done(deploy.create_deployment(pair, hosts[:1], by=None))
    assert row.status == Status.UNCHANGED


def test_a_pair_that_nobody_knew_is_kept_before_it_is_replaced(hosts: list[Host]) -> None:
    elsewhere = issued_pair(common_name="old.dojo.jp")
    key, certificate = files(elsewhere)
    assert key is not None
    assert certificate is not None
    old = (b"text before\r\n" + key.replace(b"\n", b"\r\n"), certificate.replace(b"\n", b"\r\n"))
    write_pair(Path(hosts[0].mailroot), *old)
    (row,) = done(deploy.create_deployment(issued_pair(), hosts[:1], by=None))
    assert row.previous_pair is not None
    assert row.previous_pair.origin == Pair.Origin.ADOPTED
    assert files(row.previous_pair) == old
    rolled = deploy.rollback_host(hosts[0], by=None)
    assert [row.status for row in done(rolled)] == [Status.INSTALLED]
    assert on_disk(hosts[0]) == old


def test_placing_leaves_the_installed_pair_alone(hosts: list[Host]) -> None:
    pair = issued_pair()
    (row,) = done(deploy.create_deployment(pair, hosts[:1], by=None, place_only=True))
    assert row.status == Status.PLACED
    assert on_disk(hosts[0]) == (None, None)
    sslconf = Path(hosts[0].mailroot, "sslconf")
    assert (sslconf / "server.key").read_bytes() == files(pair)[0]
    assert (sslconf / "server.key").stat().st_mode & 0o777 == 0o600
    hosts[0].refresh_from_db()
    assert hosts[0].pair is None


def test_one_bad_host_does_not_stop_the_others(hosts: list[Host]) -> None:
    shutil.rmtree(hosts[1].mailroot)
    rows = done(deploy.create_deployment(issued_pair(), hosts, by=None))
    assert [row.status for row in rows] == [Status.INSTALLED, Status.FAILED, Status.INSTALLED]
    assert rows[1].message is not None
    assert rows[1].message["code"] == "transport.mailroot_missing"


def test_a_deployment_waits_for_its_pair(
    hosts: list[Host], django_capture_on_commit_callbacks: object
) -> None:
    pair = Pair.objects.request(pair_spec(), by=None)
    deployment = deploy.create_deployment(pair, hosts, by=None)
    assert not turns.ready().exists()
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        pair.make()
    deployment.refresh_from_db()
    assert deployment.counts() == {"INSTALLED": 3}
    assert deployment.finished


def test_a_pair_that_failed_ends_the_deployment_that_waited(hosts: list[Host]) -> None:
    pair = Pair.objects.request(pair_spec(), by=None)
    deployment = deploy.create_deployment(pair, hosts, by=None)
    Pair.objects.filter(pk=pair.pk).update(status=Pair.Status.FAILED)
    turns.sweep()
    deployment.refresh_from_db()
    assert deployment.counts() == {"FAILED": 3}
    assert deployment.finished


# --- Roll back ---------------------------------------------------------------------------------


def test_rolling_back_goes_one_step_further_each_time(hosts: list[Host]) -> None:
    host = hosts[0]
    pairs = [issued_pair(common_name=f"m{number}.dojo.jp") for number in (1, 2, 3)]
    for pair in pairs:
        done(deploy.create_deployment(pair, [host], by=None))
    for earlier in (pairs[1], pairs[0]):
        done(deploy.rollback_host(host, by=None))
        assert on_disk(host) == files(earlier)
    with pytest.raises(deploy.NothingToRollBack) as refused:
        deploy.rollback_host(host, by=None)
    assert refused.value.message.code == "rollback.first"
    assert on_disk(host) == files(pairs[0])


def test_of_two_roll_backs_at_once_one_is_begun(hosts: list[Host]) -> None:
    pairs = [issued_pair(common_name=f"m{number}.dojo.jp") for number in (1, 2, 3)]
    for pair in pairs:
        latest = deploy.create_deployment(pair, hosts[:1], by=None)
        done(latest)
    first = deploy.rollback_host(hosts[0], by=None)
    for again in (
        partial(deploy.rollback_host, hosts[0], by=None),
        partial(deploy.rollback_deployment, latest, by=None),
    ):
        with pytest.raises(deploy.NothingToRollBack) as refused:
            again()
        assert refused.value.message.code == "rollback.unfinished"
    done(first)
    done(deploy.rollback_host(hosts[0], by=None))
    assert on_disk(hosts[0]) == files(pairs[0])


def test_a_change_that_was_undone_already_is_not_undone_for_ever(hosts: list[Host]) -> None:
    host = hosts[0]
    pairs = [issued_pair(common_name=f"m{number}.dojo.jp") for number in (1, 2, 3)]
    for pair in pairs:
        done(deploy.create_deployment(pair, [host], by=None))
    write_pair(Path(host.mailroot), *files(pairs[1]))  # somebody did it by hand
    (row,) = done(deploy.rollback_host(host, by=None))
    assert row.status == Status.UNCHANGED
    done(deploy.rollback_host(host, by=None))
    assert on_disk(host) == files(pairs[0])


def test_a_first_installation_is_taken_away_only_when_asked(hosts: list[Host]) -> None:
    done(deploy.create_deployment(issued_pair(), hosts[:1], by=None))
    (row,) = done(deploy.rollback_host(hosts[0], by=None, remove=True))
    assert row.status == Status.REMOVED
    assert on_disk(hosts[0]) == (None, None)
    hosts[0].refresh_from_db()
    assert hosts[0].pair is None


def test_nothing_to_roll_back_is_a_clear_refusal(hosts: list[Host]) -> None:
    with pytest.raises(deploy.NothingToRollBack) as refused:
        deploy.rollback_host(hosts[0], by=None)
    assert refused.value.message.code == "rollback.nothing"
    assert not Deployment.objects.exists()


def test_an_unusable_earlier_pair_is_not_put_back(hosts: list[Host]) -> None:
    write_pair(Path(hosts[0].mailroot), b"no key", b"no certificate")
    done(deploy.create_deployment(issued_pair(), hosts[:1], by=None))
    with pytest.raises(deploy.NothingToRollBack) as refused:
        deploy.rollback_host(hosts[0], by=None)
    assert refused.value.message.code == "rollback.unusable"


def test_a_whole_deployment_rolls_back_where_it_was_the_last(hosts: list[Host]) -> None:
    old, new, newest = (issued_pair(common_name=f"m{number}.dojo.jp") for number in (1, 2, 3))
    done(deploy.create_deployment(old, hosts, by=None))
    changed = deploy.create_deployment(new, hosts, by=None)
    done(changed)
    done(deploy.create_deployment(newest, hosts[2:], by=None))
    done(deploy.rollback_deployment(changed, by=None))
    assert [on_disk(host) for host in hosts] == [files(old), files(old), files(newest)]


# --- Waves -------------------------------------------------------------------------------------


def test_the_first_host_must_succeed_before_the_others_begin(hosts: list[Host]) -> None:
    shutil.rmtree(hosts[1].mailroot)
    rows = done(deploy.create_deployment(issued_pair(), hosts, by=None, first=hosts[1]))
    assert [row.status for row in rows] == [Status.CANCELLED, Status.FAILED, Status.CANCELLED]
    assert on_disk(hosts[0]) == (None, None)


def test_no_host_begins_after_the_failures_that_were_allowed(tmp_path: Path) -> None:
    hosts = [local_host(tmp_path, f"h{number}") for number in range(6)]
    for host in hosts[1:4]:
        shutil.rmtree(host.mailroot)
    deployment = deploy.create_deployment(issued_pair(), hosts, by=None, stop_after=1)
    rows = done(deployment)
    assert [row.status for row in rows] == [
        Status.INSTALLED, Status.FAILED, *[Status.CANCELLED] * 4,
    ]  # fmt: skip


def test_a_host_that_fails_before_it_is_begun_counts_as_a_failure(hosts: list[Host]) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts, by=None, stop_after=1)
    deployment.installations.filter(host=hosts[0]).update(attempts=ledger.MOST_ATTEMPTS)
    rows = done(deployment)
    assert [row.status for row in rows] == [Status.ERRORED, Status.CANCELLED, Status.CANCELLED]


# --- Claims ------------------------------------------------------------------------------------


def test_a_second_claim_gets_nothing(hosts: list[Host]) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts, by=None)
    ids = list(deployment.installations.values_list("pk", flat=True))
    assert len(claim(ids)[1]) == 3
    assert claim(ids)[1] == []
    assert ledger.run(ids) == []


def test_two_deployments_to_one_host_run_in_the_order_asked_for(hosts: list[Host]) -> None:
    first, second = issued_pair(), issued_pair(common_name="second.dojo.jp")
    one = deploy.create_deployment(first, hosts[:1], by=None)
    two = deploy.create_deployment(second, hosts[:1], by=None)
    ids = [row.pk for row in (one.installations.get(), two.installations.get())]
    assert len(ledger.run(ids[::-1])) == 1
    assert on_disk(hosts[0]) == files(first)
    assert len(ledger.run(ids)) == 1
    assert on_disk(hosts[0]) == files(second)


def test_what_a_dead_worker_left_is_resumed(hosts: list[Host]) -> None:
    """Between the two renames the host has a new key and the old certificate."""
    old, new = issued_pair(), issued_pair(common_name="new.dojo.jp")
    done(deploy.create_deployment(old, hosts[:1], by=None))
    deployment = deploy.create_deployment(new, hosts[:1], by=None)
    token, (row,) = claim([deployment.installations.get().pk])
    Installation.objects.filter(pk=row.pk).update(previous_pair=old, adopted=True)
    write_pair(Path(hosts[0].mailroot), files(new)[0], files(old)[1])
    assert ledger.run([row.pk]) == [], "its lease has not run out yet"
    past = timezone.now() - timedelta(seconds=1)
    Installation.objects.filter(token=token).update(lease_until=past)
    Host.objects.filter(token=token).update(lease_until=past)
    (row,) = done(deployment)
    assert row.status == Status.INSTALLED
    assert row.previous_pair == old
    assert on_disk(hosts[0]) == files(new)
    done(deploy.rollback_host(hosts[0], by=None))
    assert on_disk(hosts[0]) == files(old)


def test_a_worker_that_slept_past_its_lease_leaves_the_host_alone(hosts: list[Host]) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts[:1], by=None)
    token, rows = claim([deployment.installations.get().pk])
    Installation.objects.filter(pk=rows[0].pk).update(token="of another worker"[:16])
    assert list(ledger._Run(token, rows).go()) == []
    assert on_disk(hosts[0]) == (None, None)
    assert deployment.installations.get().status == Status.RUNNING


def test_a_worker_that_dies_each_time_is_given_up(hosts: list[Host]) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts[:1], by=None)
    deployment.installations.update(attempts=ledger.MOST_ATTEMPTS)
    (row,) = done(deployment)
    assert row.status == Status.ERRORED


def test_our_own_error_is_told_with_a_reference_to_the_log(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(fan_out, "install", broken)
    (row,) = done(deploy.create_deployment(issued_pair(), hosts[:1], by=None))
    assert row.status == Status.ERRORED
    assert row.message is not None
    assert row.message["params"]["reference"] in caplog.text


def test_a_deleted_host_keeps_its_history_and_loses_its_queue(hosts: list[Host]) -> None:
    done(deploy.create_deployment(issued_pair(), hosts[:1], by=None))
    waiting = deploy.create_deployment(issued_pair(), hosts[:1], by=None)
    hosts[0].delete()
    turns.sweep()
    assert waiting.installations.get().status == Status.CANCELLED
    assert [row.host_name for row in Installation.objects.all()] == ["mail1", "mail1"]


# --- Endpoints ---------------------------------------------------------------------------------


def test_endpoints_prove_what_is_installed(tmp_path: Path) -> None:
    host = local_host(tmp_path)
    with XMail(Path(host.mailroot)) as xmail:
        for name in ("smtp", "smtps", "pop3", "pop3s", "ctrls"):
            setattr(host, f"{name}_port", xmail.ports[name])
        host.save()
        pair = issued_pair()
        (row,) = done(deploy.create_deployment(pair, [host], by=None))
    assert row.status == Status.INSTALLED
    assert {each["sha256"] for each in row.endpoints} == {pair.sha256}
    assert len(row.endpoints) == 5
