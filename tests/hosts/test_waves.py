"""Going carefully: one host first, stop after failures, and the rest later."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from certs.models import Pair
from hosts.models import Deployment, Host
from tests.doubles.mailroot import make_mailroot
from tests.factories import files, issued_pair, local_host, on_disk
from tests.hosts.commands import run, run_json
from tests.hosts.pages import text

pytestmark = pytest.mark.django_db


@pytest.fixture
def hosts(tmp_path: Path) -> list[Host]:
    return [local_host(tmp_path, f"mail{number}") for number in (1, 2, 3, 4)]


@pytest.fixture
def pair() -> Pair:
    return issued_pair()


def outcomes(deployment: Deployment) -> dict[str, str]:
    return dict(deployment.installations.order_by("host_name").values_list("host_name", "status"))


def mend(host: Host) -> None:
    make_mailroot(Path(host.mailroot))


def test_the_page_begins_with_the_host_that_was_named_and_stops_with_it(
    admin_client: Client, hosts: list[Host], pair: Pair, django_capture_on_commit_callbacks: Any
) -> None:
    shutil.rmtree(hosts[2].mailroot)
    new = reverse("deployment_new", args=[pair.pk])
    sent = {"which": "all", "careful": "on", "first_host": "mail3"}
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(new, sent)
    deployment = Deployment.objects.get()
    assert outcomes(deployment) == {
        "mail1": "CANCELLED", "mail2": "CANCELLED", "mail3": "FAILED", "mail4": "CANCELLED",
    }  # fmt: skip
    page = text(admin_client.get(deployment.get_absolute_url()))
    assert "goes first" in page
    assert "the host that was to prove the pair first failed" in page
    mend(hosts[2])
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(reverse("deployment_retry", args=[deployment.pk]))
    again = Deployment.objects.first()
    assert again is not None
    assert response["Location"] == again.get_absolute_url()
    assert set(outcomes(again).values()) == {"INSTALLED"}
    assert again.installations.get(wave=0).host_name == "mail3"
    assert all(on_disk(host) == files(pair) for host in hosts)


def test_without_a_name_the_first_chosen_host_begins(
    admin_client: Client, hosts: list[Host], pair: Pair
) -> None:
    new = reverse("deployment_new", args=[pair.pk])
    chosen = [hosts[1].pk, hosts[3].pk]
    admin_client.post(new, {"which": "some", "hosts": chosen, "careful": "on"})
    assert Deployment.objects.get().installations.get(wave=0).host_name == "mail2"


def test_a_first_host_that_is_not_chosen_is_refused(
    admin_client: Client, hosts: list[Host], pair: Pair
) -> None:
    new = reverse("deployment_new", args=[pair.pk])
    sent = {"which": "some", "hosts": [hosts[0].pk], "careful": "on", "first_host": "mail2"}
    page = text(admin_client.post(new, sent))
    assert "This is not the name of a host that is chosen above." in page
    assert not Deployment.objects.exists()


def test_the_rest_is_cancelled_after_failures_and_only_that_is_tried_again(
    admin_client: Client, hosts: list[Host], pair: Pair, django_capture_on_commit_callbacks: Any
) -> None:
    for host in hosts[:2]:
        shutil.rmtree(host.mailroot)
    new = reverse("deployment_new", args=[pair.pk])
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(new, {"which": "all", "stop_after": "1"})
    deployment = Deployment.objects.get()
    found = outcomes(deployment)
    assert found["mail1"] == "FAILED"
    assert list(found.values()).count("CANCELLED") == 3
    for host in hosts[:2]:
        mend(host)
    Host.objects.filter(name="mail4").update(disabled=True)
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(reverse("deployment_retry", args=[deployment.pk]))
    again = Deployment.objects.first()
    assert again is not None
    assert outcomes(again) == dict.fromkeys(("mail1", "mail2", "mail3"), "INSTALLED")
    assert again.stop_after == 1
    left = admin_client.post(reverse("deployment_retry", args=[deployment.pk]), follow=True)
    assert "There is no host left on which this could be tried again." in text(left)
    assert Deployment.objects.count() == 2


def test_a_failed_roll_back_is_tried_again_as_a_roll_back(
    admin_client: Client, hosts: list[Host], pair: Pair, django_capture_on_commit_callbacks: Any
) -> None:
    earlier = issued_pair(common_name="mail2.dojo.jp")
    for each in (earlier, pair):
        assert run("deploy_pair", str(each.pk), "mail1").status == 0
    away = hosts[0].mailroot + "-away"
    Path(hosts[0].mailroot).rename(away)
    assert run("rollback_host", "mail1").status == 1
    Path(away).rename(hosts[0].mailroot)
    failed = Deployment.objects.first()
    assert failed is not None
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(reverse("deployment_retry", args=[failed.pk]))
    assert on_disk(hosts[0]) == files(earlier)
    assert "nothing to go back to" in run("rollback_host", "mail1").error


def test_commands_go_carefully_too(hosts: list[Host], pair: Pair) -> None:
    shutil.rmtree(hosts[1].mailroot)
    done = run_json("deploy_pair", str(pair.pk), "--all", "--first", "mail2")
    assert done.status == 1
    assert done.statuses == ["CANCELLED", "FAILED", "CANCELLED", "CANCELLED"]
    done = run_json("deploy_pair", str(pair.pk), "--all", "--first", "mail1", "--stop-after", "1")
    assert done.statuses[:2] == ["INSTALLED", "FAILED"]
    refused = run("deploy_pair", str(pair.pk), "mail1", "--first", "mail2")
    assert "is not among the hosts" in refused.error
