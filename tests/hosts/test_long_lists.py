"""Lists far longer than a page: every row once, in order, and no deployment counted anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hosts import deploy, ledger
from hosts.models import Deployment, Host, Installation
from tests.factories import issued_pair, local_host
from tests.hosts.pages import text

pytestmark = pytest.mark.django_db
Status = Installation.Status


@pytest.fixture
def deployment() -> Deployment:
    """A deployment that is under way on hosts that were deleted since."""
    made = Deployment.objects.create(pair=issued_pair(), created_by_name="admin")
    Installation.objects.bulk_create(
        Installation(deployment=made, host_name=f"mail{at:03}", status=Status.INSTALLED)
        for at in range(120)
    )
    return made


def names(client: Client, address: str, page: int, **query: str) -> list[str]:
    table = client.get(address, {"page": str(page), **query}).context["table"]
    return [row.record.host_name for row in table.paginated_rows]


def test_the_pages_of_the_history_show_every_row_once_and_in_order(
    admin_client: Client, deployment: Deployment
) -> None:
    address = reverse("installation_list")
    pages = [names(admin_client, address, page) for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [30, 30, 30, 30]
    assert [name for page in pages for name in page] == [
        f"mail{at:03}" for at in reversed(range(120))
    ]
    assert names(admin_client, address, 3, sort="id") == [f"mail{at:03}" for at in range(60, 90)]


def test_the_pages_of_a_deployment_show_what_failed_first_then_by_name(
    admin_client: Client, deployment: Deployment
) -> None:
    deployment.installations.filter(host_name="mail111").update(status=Status.FAILED)
    address = deployment.get_absolute_url()
    seen = [
        item["row"].host_name
        for page in ("1", "2", "3", "4")
        for item in admin_client.get(address, {"page": page}).context["rows"]
    ]
    assert seen == ["mail111", *(f"mail{at:03}" for at in range(120) if at != 111)]


def test_a_finished_deployment_is_told_without_counting_its_hosts_again(
    admin_client: Client, tmp_path: Path
) -> None:
    hosts = [local_host(tmp_path, f"mail{number}") for number in (1, 2, 3)]
    Path(hosts[1].mailroot).rename(tmp_path / "away")
    done = deploy.create_deployment(issued_pair(), hosts, by=None)
    for _row in ledger.work(done):
        pass
    under_way = deploy.create_deployment(issued_pair(), hosts, by=None)
    with CaptureQueriesContext(connection) as asked:
        page = text(admin_client.get(reverse("deployment_list")))
    assert "It failed on 1 of 3 hosts." in page
    assert "0 of 3 hosts are done." in page
    counts = [each["sql"] for each in asked if "hosts_installation" in each["sql"]]
    assert len(counts) == 1
    assert f"({under_way.pk})" in counts[0]
    Host.objects.filter(name="mail1").delete()
    assert "It failed on 1 of 3 hosts." in text(admin_client.get(reverse("deployment_list")))
