"""Cancelling a deployment from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts import deploy
from hosts.models import Deployment, Installation
from tests.factories import files, issued_pair, local_host, on_disk
from tests.hosts.commands import run, run_json
from xmailadmin.models import AuditEntry

pytestmark = pytest.mark.django_db
Status = Installation.Status


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    hosts = [local_host(tmp_path, f"mail{number}") for number in (1, 2, 3)]
    return deploy.create_deployment(issued_pair(), hosts, by=None)


def test_what_was_not_begun_is_cancelled_and_never_installed(deployment: Deployment) -> None:
    done = run_json("cancel_deployment", str(deployment.pk))
    assert (done.status, done.statuses) == (0, ["CANCELLED"] * 3)
    assert (done.json["deployment"], done.json["cancelled"]) == (deployment.pk, 3)
    assert done.json["installations"][0]["code"] == "deploy.cancelled"
    deployment.refresh_from_db()
    assert deployment.finished
    for row in deployment.installations.select_related("host"):
        assert row.host is not None
        assert on_disk(row.host) == (None, None)
    entry = AuditEntry.objects.get(action="deployment.cancel")
    assert (entry.actor_name, entry.detail) == ("system", {"hosts": 3})


def test_a_deployment_tells_the_number_by_which_it_is_cancelled(tmp_path: Path) -> None:
    pair, host = issued_pair(), local_host(tmp_path)
    told = run("deploy_pair", str(pair.pk), host.name, "--no-wait").out
    waiting = Deployment.objects.get()
    assert f"Deployment {waiting.pk} " in told
    assert run("cancel_deployment", str(waiting.pk)).status == 0
    told = run("deploy_pair", str(pair.pk), host.name).out
    assert told.startswith(f"Deployment {waiting.pk + 1}:\n{host.name}: INSTALLED")


def test_a_host_that_was_begun_is_left_to_finish(deployment: Deployment) -> None:
    first = deployment.installations.order_by("pk").first()
    assert first is not None
    Installation.objects.filter(pk=first.pk).update(status=Status.RUNNING, step="SWITCH")
    done = run("cancel_deployment", str(deployment.pk))
    assert done.status == 0
    assert "mail1: begun already, and will be finished." in done.out
    assert "mail2: CANCELLED" in done.out
    assert "cancelled: 2." in done.out
    first.refresh_from_db()
    assert first.status == Status.RUNNING


def test_an_unknown_one_or_a_finished_one_is_refused(tmp_path: Path) -> None:
    assert run("cancel_deployment", "7").error == "There is no deployment 7."
    host, pair = local_host(tmp_path), issued_pair()
    assert run("deploy_pair", str(pair.pk), host.name).status == 0
    number = Deployment.objects.get().pk
    refused = run_json("cancel_deployment", str(number))
    told = f"Deployment {number} is finished already, so nothing was cancelled."
    assert (refused.status, refused.error, refused.json) == (1, told, {"error": told})
    assert run("cancel_deployment", str(number)).out == ""
    assert on_disk(host) == files(pair)
    assert not AuditEntry.objects.filter(action="deployment.cancel").exists()
