"""The matrix of hosts and services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from certs.models import Pair
from hosts import deploy, ledger
from hosts.models import Diagnosis, Host
from hosts.views.matrix import Cell
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.factories import ENDPOINTS_OFF, issued_pair, local_host
from tests.hosts.pages import text

pytestmark = pytest.mark.django_db
OTHER = make_pair("other.test")
SERVICES = ("smtp", "smtps", "pop3", "pop3s")


@pytest.fixture
def pair() -> Pair:
    return issued_pair()


@pytest.fixture
def xmail(tmp_path: Path) -> Iterator[XMail]:
    with XMail(make_mailroot(tmp_path / "mail1"), services=SERVICES) as xmail:
        yield xmail


@pytest.fixture
def host(xmail: XMail, pair: Pair) -> Host:
    """A host with four services that present the recorded pair."""
    ports = {f"{name}_port": xmail.ports[name] for name in SERVICES}
    values = ENDPOINTS_OFF | ports
    host = Host.objects.create(name="mail1", mailroot=str(xmail.mailroot), **values)
    list(ledger.work(deploy.create_deployment(pair, [host], by=None)))
    host.refresh_from_db()
    return host


def cells(client: Client, **query: str) -> dict[str, list[Cell]]:
    rows = client.get(reverse("matrix"), query).context["rows"]
    return {row["host"].name: row["cells"] for row in rows}


def words(client: Client, name: str = "mail1") -> list[str]:
    return [cell.word for cell in cells(client)[name]]


def standing() -> str:
    return Diagnosis.objects.get().standing


def test_green_is_only_what_presents_the_recorded_pair(
    admin_client: Client, host: Host, xmail: XMail
) -> None:
    good = "Matches"
    assert words(admin_client) == [good, good, good, good, good, "Off"]
    assert standing() == "same"
    write_pair(xmail.mailroot, OTHER.key, OTHER.certificate)
    Diagnosis.objects.take([host])
    bad = "Another"
    assert words(admin_client) == [bad, bad, bad, bad, bad, "Off"]
    assert standing() == "differs"
    assert "What to do" in text(admin_client.get(reverse("matrix")))
    xmail.refuse("pop3s")
    write_pair(xmail.mailroot, None, None)
    Diagnosis.objects.take([host])
    assert words(admin_client) == ["No pair", *["No TLS"] * 4, "Off"]


def test_drift_is_shown_and_never_overwritten(
    admin_client: Client, host: Host, xmail: XMail, django_capture_on_commit_callbacks: Any
) -> None:
    write_pair(xmail.mailroot, OTHER.key, OTHER.certificate)
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(reverse("matrix"))
    assert response["Location"].startswith(reverse("matrix"))
    assert "Another" in words(admin_client)
    assert (xmail.mailroot / "server.key").read_bytes() == OTHER.key
    host.refresh_from_db()
    assert host.pair is not None
    assert host.pair.sha256 != OTHER.sha256


def test_a_record_that_changed_since_counts_at_once(admin_client: Client, host: Host) -> None:
    Host.objects.update(pair=issued_pair(common_name="mail2.dojo.jp"))
    assert words(admin_client)[0] == "Another"


def test_a_host_that_was_not_looked_at_says_so(admin_client: Client, tmp_path: Path) -> None:
    local_host(tmp_path, "mail2", smtp_port=25)
    assert words(admin_client, "mail2")[:3] == ["Not seen", "Not seen", "Off"]
    page = admin_client.get(reverse("matrix")).content.decode()
    assert "<strong></strong>" not in page
    assert "<strong>0</strong>" in page


def test_key_and_certificate_that_do_not_match_are_no_good(
    admin_client: Client, tmp_path: Path
) -> None:
    host = local_host(tmp_path, "mail2")
    write_pair(Path(host.mailroot), OTHER.key, make_pair("third.test").certificate)
    Diagnosis.objects.take([host])
    assert words(admin_client, "mail2")[0] == "No match"
    assert standing() == "unrecorded"


def test_it_is_filtered(admin_client: Client, tmp_path: Path) -> None:
    found = ("differs", "same", "unrecorded")
    for name in (*found, "unknown"):
        host = local_host(tmp_path, name)
        if name in found:
            Diagnosis.objects.create(host=host, standing=name)
    for name in (*found, "unknown"):
        assert list(cells(admin_client, standing=name)) == [name]
    assert list(cells(admin_client, q="same")) == ["same"]
    assert "No host fits this search." in text(admin_client.get(reverse("matrix"), {"q": "zzz"}))


def test_an_empty_matrix_says_what_to_do(admin_client: Client) -> None:
    assert "There is nothing to compare yet" in text(admin_client.get(reverse("matrix")))


def test_ten_thousand_hosts_cost_as_many_queries_as_one(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    hosts = Host.objects.bulk_create(
        Host(name=f"mail{at:05}", mailroot=f"/var/MailRoot{at}", **ENDPOINTS_OFF)
        for at in range(10_000)
    )
    Diagnosis.objects.bulk_create(Diagnosis(host=host, standing="differs") for host in hosts)
    with django_assert_max_num_queries(16):
        page = admin_client.get(reverse("matrix"), {"standing": "differs", "page": "334"})
    assert "Page 334 of 334" in text(page)


def test_the_schedule_looks_at_every_host_each_hour() -> None:
    schedule = settings.CELERY_BEAT_SCHEDULE["diagnose"]
    assert schedule == {"task": "hosts.tasks.diagnose_all", "schedule": 3600.0}


def test_dashboard_and_navigation_lead_there(admin_client: Client, tmp_path: Path) -> None:
    local_host(tmp_path, "mail1")
    html = admin_client.get(reverse("dashboard")).content.decode()
    assert html.count(f'href="{reverse("matrix")}"') == 3


def test_submission_has_a_column_where_somebody_uses_it(
    admin_client: Client, tmp_path: Path
) -> None:
    local_host(tmp_path, "mail1")
    assert "Submission" not in admin_client.get(reverse("matrix")).context["columns"]
    local_host(tmp_path, "mail2", submission_port=587)
    assert "Submission" in admin_client.get(reverse("matrix")).context["columns"]
