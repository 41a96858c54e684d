"""Whose turn it is when many deployments wait, and what becomes of one that is cancelled."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hosts import deploy, fan_out, ledger, turns
from hosts.models import Deployment, Host, Installation
from tests import people
from tests.factories import files, issued_pair, local_host, on_disk
from xmailadmin import celery
from xmailadmin.models import AuditEntry

pytestmark = pytest.mark.django_db
Status = Installation.Status


@pytest.fixture(autouse=True)
def _few_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "CHUNK", 3)


@pytest.fixture
def hosts(tmp_path: Path) -> list[Host]:
    return [local_host(tmp_path, f"mail{number}") for number in range(8)]


def next_hosts() -> list[str]:
    """The hosts that a worker which is free now would begin with."""
    chunk = turns.next_chunk()
    return [] if chunk is None else list(chunk.values_list("host_name", flat=True))


def begin(names: list[str]) -> str:
    """A worker claims these hosts, and is still busy with them."""
    token, _rows = ledger._claim(turns.ready().filter(host_name__in=names))
    return token


def test_a_big_deployment_does_not_keep_a_small_one_waiting(hosts: list[Host]) -> None:
    pair = issued_pair()
    deploy.create_deployment(pair, hosts[:7], by=None)
    deploy.create_deployment(pair, hosts[7:], by=None)
    assert next_hosts() == ["mail0", "mail1", "mail2"]
    begin(next_hosts())
    assert next_hosts() == ["mail7"]
    begin(next_hosts())
    assert next_hosts() == ["mail3", "mail4", "mail5"]


def test_a_dead_worker_does_not_count_as_busy(hosts: list[Host]) -> None:
    pair = issued_pair()
    deploy.create_deployment(pair, hosts[:4], by=None)
    deploy.create_deployment(pair, hosts[4:], by=None)
    token = begin(next_hosts())
    past = timezone.now() - timedelta(seconds=1)
    for model in (Host, Installation):
        model._default_manager.filter(token=token).update(lease_until=past)
    assert next_hosts() == ["mail0", "mail1", "mail2"]


def test_whatever_a_message_says_the_one_whose_turn_it_is_is_done(hosts: list[Host]) -> None:
    pair = issued_pair()
    big = deploy.create_deployment(pair, hosts[:7], by=None)
    small = deploy.create_deployment(pair, hosts[7:], by=None)
    begin(next_hosts())
    last = list(big.installations.order_by("pk").values_list("pk", flat=True))[6:]
    assert [row.deployment for row in ledger.run_next(last)] == [small]
    assert big.installations.get(pk=last[0]).status == Status.QUEUED


def test_the_next_chunk_is_rung_for_until_nothing_waits(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hosts.tasks import install_hosts

    rung: list[tuple[object, ...]] = []

    def ring(*arguments: object, **_: object) -> bool:
        rung.append(arguments)
        return True

    monkeypatch.setattr(celery, "ring", ring)
    deploy.create_deployment(issued_pair(), hosts, by=None)
    for left in (5, 2, 0):
        rung.clear()
        install_hosts([])
        assert Installation.objects.filter(status=Status.QUEUED).count() == left
        assert (("hosts.tasks.install_hosts", []) in rung) == (left > 0)
    rung.clear()
    install_hosts([])
    assert rung == []


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The hosts for which a look was rung."""
    rung: list[int] = []

    def ring(task: str, ids: list[int]) -> bool:
        if task == "hosts.tasks.diagnose_hosts":
            rung.extend(ids)
        return True

    monkeypatch.setattr(celery, "ring", ring)
    return rung


def test_hosts_are_looked_at_once_when_nothing_of_their_deployment_waits_any_more(
    hosts: list[Host], looks: list[int]
) -> None:
    from hosts.tasks import install_hosts

    deploy.create_deployment(issued_pair(), hosts, by=None)
    install_hosts([])
    install_hosts([])
    assert looks == []
    install_hosts([])
    turns.sweep()
    assert looks == [host.pk for host in hosts]


def test_chunks_that_end_beside_one_another_have_each_host_looked_at_once(
    hosts: list[Host], looks: list[int]
) -> None:
    deploy.create_deployment(issued_pair(), hosts, by=None)
    claims = [ledger._claim(chunk) for _ in range(3) if (chunk := turns.next_chunk()) is not None]
    for token, rows in claims:
        for _news in ledger._Run(token, rows).go():
            pass
        turns.sweep()
    assert looks == [host.pk for host in hosts]


def test_hosts_are_looked_at_when_the_rest_is_cancelled(
    hosts: list[Host], looks: list[int]
) -> None:
    from hosts.tasks import install_hosts

    deployment = deploy.create_deployment(issued_pair(), hosts, by=None)
    install_hosts([])
    deploy.cancel(deployment, by=people.person("operator"))
    turns.sweep()
    assert looks == [host.pk for host in hosts[:3]]


def test_a_look_that_could_not_be_rung_for_is_rung_for_later(
    hosts: list[Host], looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = celery.ring
    deploy.create_deployment(issued_pair(), hosts[:2], by=None)
    monkeypatch.setattr(celery, "ring", lambda *_arguments: False)
    ledger.run_next()
    turns.sweep()
    monkeypatch.setattr(celery, "ring", heard)
    turns.sweep()
    assert looks == [host.pk for host in hosts[:2]]


# --- Cancelling ----------------------------------------------------------------------------------


def test_what_is_begun_is_finished_and_the_rest_is_not_begun(hosts: list[Host]) -> None:
    person = people.person("operator")
    pair = issued_pair()
    deployment = deploy.create_deployment(pair, hosts, by=None)
    ledger._do(turns.ready().filter(deployment=deployment, host=hosts[0]))
    begun = deployment.installations.get(host=hosts[1])
    token, rows = ledger._claim(turns.ready().filter(pk=begun.pk))
    Installation.objects.filter(pk=begun.pk).update(step="STAGE", adopted=True)
    claimed = begin(["mail2", "mail3"])
    assert deploy.cancel(deployment, by=person) == 7 - 1
    states = dict(deployment.installations.values_list("host_name", "status"))
    assert (states["mail0"], states["mail1"]) == (Status.INSTALLED, Status.RUNNING)
    assert {states[f"mail{number}"] for number in range(2, 8)} == {Status.CANCELLED}
    assert not Host.objects.filter(token=claimed).exists(), "these hosts are free again"
    assert Deployment.objects.filter(finished_at=None).exists()
    for _news in ledger._Run(token, rows).go():
        pass
    turns.sweep()
    deployment.refresh_from_db()
    assert deployment.finished
    assert on_disk(hosts[1]) == files(pair)
    assert on_disk(hosts[2]) == (None, None)
    entry = AuditEntry.objects.get(action="deployment.cancel")
    assert (entry.actor, entry.detail["hosts"]) == (person, 6)


def test_a_worker_that_had_claimed_a_host_leaves_it_alone(hosts: list[Host]) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts[:1], by=None)
    token, rows = ledger._claim(turns.ready())
    deploy.cancel(deployment, by=None)
    for _news in ledger._Run(token, rows).go():
        pass
    assert on_disk(hosts[0]) == (None, None)
    row = deployment.installations.get()
    assert (row.status, row.steps) == (Status.CANCELLED, [])


def test_half_a_pair_is_not_left_by_cancelling(hosts: list[Host]) -> None:
    """Handed back in the midst of it: another worker has to make the host whole."""
    deployment = deploy.create_deployment(issued_pair(), hosts[:2], by=None)
    deployment.installations.filter(host=hosts[0]).update(adopted=True)
    assert deploy.cancel(deployment, by=None) == 1
    assert deployment.installations.get(host=hosts[0]).status == Status.QUEUED
    turns.settle(Deployment.objects.all())
    assert deployment.installations.get(host=hosts[0]).status == Status.QUEUED


def test_the_page_has_a_button_while_there_is_something_to_cancel(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery, "ring", lambda *_, **__: True)
    deployment = deploy.create_deployment(issued_pair(), hosts, by=None)
    client = people.signed_in(people.person("operator"))
    address = reverse("deployment_cancel", args=[deployment.pk])
    assert address in client.get(deployment.get_absolute_url()).content.decode()
    page = client.post(address, follow=True).content.decode()
    assert "Cancelled on 8 hosts that had not been begun." in page
    assert address not in page
    assert "Cancelled by a person before this host was begun." in page
    page = client.post(address, follow=True).content.decode()
    assert "finished already" in page


# --- Disabled hosts ------------------------------------------------------------------------------


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Client:
    """Somebody who disables hosts, while no worker hears of anything."""
    monkeypatch.setattr(celery, "ring", lambda *_, **__: True)
    return people.signed_in(people.person("operator"))


def switch(client: Client, host: Host, *, on: bool = False) -> None:
    client.post(reverse("host_enable" if on else "host_disable", args=[host.pk]))


def run_all() -> None:
    while ledger.run_next():
        pass
    turns.sweep()


def test_a_disabled_host_gets_nothing_that_waits_for_it(
    hosts: list[Host], operator: Client
) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts[:3], by=None)
    begin(["mail1"])  # claimed, and not begun
    switch(operator, hosts[0])
    switch(operator, hosts[1])
    page = operator.get(deployment.get_absolute_url()).content.decode()
    assert page.count("Cancelled, because the host was disabled before its turn came.") == 2
    assert not Host.objects.exclude(token="").exists()
    run_all()
    deployment.refresh_from_db()
    assert deployment.finished
    assert deployment.counts() == {"INSTALLED": 1, "CANCELLED": 2}
    assert on_disk(hosts[0]) == on_disk(hosts[1]) == (None, None)
    switch(operator, hosts[0], on=True)
    again = deploy.retry(deployment, by=None)
    assert again is not None
    run_all()
    assert again.counts() == {"INSTALLED": 1}
    assert on_disk(hosts[0]) != (None, None)


def test_a_deployment_of_disabled_hosts_alone_is_over_at_once(
    hosts: list[Host], operator: Client
) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts[:1], by=None)
    switch(operator, hosts[0])
    deployment.refresh_from_db()
    assert deployment.finished
    assert AuditEntry.objects.filter(action="host.disable").count() == 1


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_a_host_that_was_disabled_as_it_was_asked_for_gets_nothing(
    hosts: list[Host], status: Status
) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts[:1], by=None)
    deployment.installations.update(status=status)  # its worker has died
    Host.objects.filter(pk=hosts[0].pk).update(disabled=True)
    assert not turns.ready().exists()
    turns.sweep()
    deployment.refresh_from_db()
    assert deployment.counts() == {"CANCELLED": 1}
    assert deployment.finished


def test_half_a_pair_is_not_left_by_disabling(hosts: list[Host], operator: Client) -> None:
    pair = issued_pair()
    deployment = deploy.create_deployment(pair, hosts[:1], by=None)
    deployment.installations.update(adopted=True, status=Status.RUNNING, step="SWITCH")
    switch(operator, hosts[0])
    run_all()
    assert deployment.counts() == {"INSTALLED": 1}
    assert on_disk(hosts[0]) == files(pair)


@pytest.mark.parametrize("deleted", [False, True])
def test_nothing_is_installed_unproven_when_the_first_host_is_left_out(
    hosts: list[Host], operator: Client, deleted: bool
) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts[:3], by=None, first=hosts[1])
    if deleted:
        hosts[1].delete()
    else:
        switch(operator, hosts[1])
    turns.sweep()
    run_all()
    deployment.refresh_from_db()
    assert deployment.counts() == {"CANCELLED": 3}
    assert deployment.finished
    page = operator.get(deployment.get_absolute_url()).content.decode()
    assert page.count("nothing was installed on the host that was to prove the pair first") == 2


# --- Stopping ------------------------------------------------------------------------------------


def test_a_worker_that_stops_begins_nothing_and_hands_back_at_once(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deploy.create_deployment(issued_pair(), hosts[:3], by=None)
    token, rows = ledger._claim(turns.ready())
    monkeypatch.setattr(fan_out.stopping, "is_set", lambda: True)
    for _news in ledger._Run(token, rows).go():
        pass
    assert deployment.counts() == {"QUEUED": 3}
    assert turns.ready().filter(rung_at=None).count() == 3, "the next sweep rings for them"
    assert ledger.run_next() == []
