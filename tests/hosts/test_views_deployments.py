"""Choosing hosts, watching a deployment, its summary, the history, and the form of a new pair."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from certs.models import Pair
from hosts import deploy
from hosts.choosing import SHOWN
from hosts.models import Deployment, Host, Installation
from tests.factories import ENDPOINTS_OFF, files, issued_pair, local_host, on_disk
from tests.hosts.pages import text
from xmailadmin.models import User

pytestmark = pytest.mark.django_db
Status = Installation.Status
QUERIES = 20  # far fewer than the rows of any list here: no row has a query of its own


@pytest.fixture
def hosts(tmp_path: Path) -> list[Host]:
    return [local_host(tmp_path, f"mail{number}") for number in (1, 2, 3)]


@pytest.fixture
def pair() -> Pair:
    return issued_pair()


def chosen(deployment: Deployment) -> list[str]:
    return sorted(deployment.installations.values_list("host_name", flat=True))


def broken(host: Host) -> None:
    """Takes the MailRoot of a host away, so that installing there fails."""
    Path(host.mailroot).rename(f"{host.mailroot}-away")


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"which": "all"}, ["mail1", "mail2", "mail3"]),
        ({"which": "some"}, ["mail2"]),
        ({"which": "search", "host_search": "mail3"}, ["mail3"]),
    ],
)
def test_hosts_are_chosen_all_some_or_by_search(
    admin_client: Client, hosts: list[Host], pair: Pair, choice: dict[str, str], names: list[str]
) -> None:
    data: dict[str, Any] = {**choice, "hosts": [hosts[1].pk]}
    response = admin_client.post(reverse("deployment_new", args=[pair.pk]), data)
    deployment = Deployment.objects.get()
    assert response["Location"] == deployment.get_absolute_url()
    assert chosen(deployment) == names
    assert deployment.created_by_name == "admin"


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"which": "some"}, "Choose at least one host."),
        ({"which": "search", "host_search": " "}, "Write what to search for."),
        ({"which": "search", "host_search": "nobody"}, "No host fits this search."),
        ({"which": "all", "stop_after": "-1"}, "greater than or equal to 1"),
    ],
)
def test_a_choice_of_nothing_is_refused_in_words(
    admin_client: Client, hosts: list[Host], pair: Pair, choice: dict[str, str], reason: str
) -> None:
    page = text(admin_client.post(reverse("deployment_new", args=[pair.pk]), choice))
    assert reason in page
    assert "Nothing was installed yet" in page
    assert not Deployment.objects.exists()


def test_a_preview_shows_which_hosts_fit_and_begins_nothing(
    admin_client: Client, hosts: list[Host], pair: Pair
) -> None:
    data = {"which": "search", "host_search": "mail", "preview": "1"}
    page = text(admin_client.post(reverse("deployment_new", args=[pair.pk]), data))
    assert "3 hosts fit: mail1, mail2, mail3" in page
    assert not Deployment.objects.exists()


def test_a_link_may_choose_hosts_beforehand(
    admin_client: Client, hosts: list[Host], pair: Pair
) -> None:
    address = reverse("deployment_new", args=[pair.pk])
    response = admin_client.get(f"{address}?host={hosts[2].pk}&host=x")
    assert [host for host, ticked in response.context["form"].rows if ticked] == [hosts[2]]


def test_of_many_hosts_some_have_a_box_and_the_rest_is_searched_for(
    admin_client: Client, pair: Pair, django_assert_max_num_queries: Any
) -> None:
    Host.objects.bulk_create(
        Host(name=f"mail{at:05}", mailroot=f"/m{at}", **ENDPOINTS_OFF) for at in range(SHOWN + 5)
    )
    with django_assert_max_num_queries(QUERIES):
        page = text(admin_client.get(reverse("deployment_new", args=[pair.pk])))
    assert "5 more hosts are not shown; use the search below." in page


def test_an_unusable_pair_is_not_offered(admin_client: Client, hosts: list[Host]) -> None:
    adopted = Pair.objects.adopt(None, b"no certificate", found_on="mail1")
    response = admin_client.get(reverse("deployment_new", args=[adopted.pk]))
    assert response["Location"] == adopted.get_absolute_url()


def test_the_page_polls_until_all_is_done_and_then_sums_up(
    admin_client: Client, hosts: list[Host], pair: Pair, django_capture_on_commit_callbacks: Any
) -> None:
    broken(hosts[1])
    with django_capture_on_commit_callbacks() as rung:
        admin_client.post(reverse("deployment_new", args=[pair.pk]), {"which": "all"})
    deployment = Deployment.objects.get()
    before = admin_client.get(deployment.get_absolute_url())
    assert 'hx-trigger="every 1s"' in before.content.decode()
    assert "0 of 3 hosts are done." in text(before)
    Installation.objects.filter(host=hosts[0]).update(status=Status.RUNNING, step="READ_BACK")
    part = admin_client.get(reverse("deployment_progress", args=[deployment.pk]))
    assert "Read back" in text(part)
    assert "<html" not in part.content.decode()
    Installation.objects.update(status=Status.QUEUED, step="")
    with django_capture_on_commit_callbacks(execute=True):
        for callback in rung:
            callback()
    after = admin_client.get(reverse("deployment_progress", args=[deployment.pk]))
    page = text(after)
    assert "hx-trigger" not in after.content.decode()
    assert "It did not succeed on 1 of 3 hosts." in page
    assert "Try again on these hosts" in page
    assert page.index("mail2") < page.index("mail1")  # what failed comes first
    assert reverse("deployment_retry", args=[deployment.pk]) in after.content.decode()


def test_a_whole_deployment_is_rolled_back(
    admin_client: Client, hosts: list[Host], django_capture_on_commit_callbacks: Any
) -> None:
    first, second = issued_pair(), issued_pair(common_name="mail2.dojo.jp")
    for each in (first, second):
        with django_capture_on_commit_callbacks(execute=True):
            admin_client.post(reverse("deployment_new", args=[each.pk]), {"which": "all"})
    latest = Deployment.objects.first()
    assert latest is not None
    assert "All 3 hosts hold the pair." in text(admin_client.get(latest.get_absolute_url()))
    address = reverse("deployment_rollback", args=[latest.pk])
    assert f"mail1 {first}" in text(admin_client.get(address))
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(address)
    assert [on_disk(host) for host in hosts] == [files(first)] * 3
    page = text(admin_client.get(response["Location"]))
    assert "All 3 hosts hold again what they held before." in page
    assert f"Takes back deployment #{latest.pk}" in page
    refused = text(admin_client.post(address, follow=True))
    assert "there is nothing to roll back" in refused


def test_deployments_are_listed_with_how_they_went(
    admin_client: Client,
    hosts: list[Host],
    pair: Pair,
    django_capture_on_commit_callbacks: Any,
    django_assert_max_num_queries: Any,
) -> None:
    address = reverse("deployment_list")
    assert "Nothing was installed yet" in text(admin_client.get(address))
    broken(hosts[1])
    for host in (hosts[0], hosts[1]):
        with django_capture_on_commit_callbacks(execute=True):
            admin_client.post(
                reverse("deployment_new", args=[pair.pk]), {"which": "some", "hosts": [host.pk]}
            )
    Deployment.objects.bulk_create(
        Deployment(pair=pair, created_by_name="taro", finished_at=timezone.now()) for _ in range(60)
    )
    with django_assert_max_num_queries(QUERIES):
        page = text(admin_client.get(address))
    assert "Page 1 of 3" in page
    assert "It failed on 1 of 1 host." in text(admin_client.get(address, {"outcome": "bad"}))
    assert "taro" not in text(admin_client.get(address, {"person": "admin"}))


def test_the_history_is_filtered_and_costs_a_constant_number_of_queries(
    admin_client: Client,
    hosts: list[Host],
    pair: Pair,
    django_capture_on_commit_callbacks: Any,
    django_assert_max_num_queries: Any,
) -> None:
    broken(hosts[1])
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(reverse("deployment_new", args=[pair.pk]), {"which": "all"})
    deployment = Deployment.objects.get()
    Installation.objects.bulk_create(
        Installation(deployment=deployment, host_name=f"old{at}", status=Status.INSTALLED)
        for at in range(60)
    )
    address = reverse("installation_list")
    today = f"{timezone.now():%Y-%m-%d}"

    def names(**query: Any) -> set[str]:
        response = admin_client.get(address, query)
        return {row.record.host_name for row in response.context["table"].paginated_rows}

    assert names(outcome="bad") == {"mail2"}
    assert names(outcome="FAILED") == {"mail2"}
    assert names(q="mail1") == {"mail1"}
    assert names(host=hosts[2].pk) == {"mail3"}
    assert names(pair=pair.pk) == {"mail1", "mail2", "mail3"}
    assert names(person="nobody") == set()
    assert names(since=today, until=today, q="mail1") == {"mail1"}
    assert names(until="2001-01-01") == set()
    with django_assert_max_num_queries(QUERIES):
        page = text(admin_client.get(address))
    assert "1–30 of 63 entries" in page


def test_an_installation_tells_everything_and_leads_to_the_roll_back(
    admin_client: Client, hosts: list[Host], django_capture_on_commit_callbacks: Any
) -> None:
    first, second = issued_pair(), issued_pair(common_name="mail2.dojo.jp")
    for each in (first, second):
        with django_capture_on_commit_callbacks(execute=True):
            admin_client.post(
                reverse("deployment_new", args=[each.pk]), {"which": "some", "hosts": [hosts[0].pk]}
            )
    newest, oldest = Installation.objects.all()
    page = text(admin_client.get(newest.get_absolute_url()))
    for words in ("Keep the previous pair", "Switch to the new files", "Read back", "admin"):
        assert words in page
    assert f"What was there before #{first.pk}" in page
    assert "Client notes at that time" in page
    assert "Roll back" in page
    assert "Roll back" not in text(admin_client.get(oldest.get_absolute_url()))


PAIR_FIELDS = {
    "country": "JP",
    "state": "Tokyo",
    "locality": "Shibuya-ku",
    "organization": "Xmail Co., Ltd.",
    "organizational_unit": "",
    "common_name": "mail.dojo.jp",
    "aliases": "",
    "email": "",
    "key_size": "ec-256",
    "days": "825",
    "memo": "",
}


def test_a_pair_is_made_and_installed_immediately(
    admin_client: Client, hosts: list[Host], django_capture_on_commit_callbacks: Any
) -> None:
    data = {**PAIR_FIELDS, "install_now": "on", "which": "some", "hosts": [h.pk for h in hosts[:2]]}
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(reverse("pair_new"), data)
    made = Pair.objects.get()
    assert response["Location"] == Deployment.objects.get().get_absolute_url()
    assert [on_disk(host) for host in hosts] == [files(made), files(made), (None, None)]
    again = admin_client.get(reverse("pair_new"))
    assert 'value="mail.dojo.jp"' in again.content.decode()


def test_without_immediate_installation_the_hosts_do_not_matter(
    admin_client: Client, hosts: list[Host], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(reverse("pair_new"), {**PAIR_FIELDS, "which": "some"})
    assert response["Location"] == Pair.objects.get().get_absolute_url()
    assert not Deployment.objects.exists()


def test_a_mistake_in_the_pair_or_in_the_hosts_makes_nothing(
    admin_client: Client, hosts: list[Host]
) -> None:
    data = {**PAIR_FIELDS, "common_name": "not a name", "install_now": "on", "which": "some"}
    page = text(admin_client.post(reverse("pair_new"), data))
    assert "The pair was not made yet" in page
    assert "Choose at least one host." in page
    assert not Pair.objects.exists()


def test_a_dashboard_answers_at_a_glance(
    admin_client: Client,
    hosts: list[Host],
    pair: Pair,
    django_capture_on_commit_callbacks: Any,
    django_assert_max_num_queries: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(reverse("deployment_new", args=[pair.pk]), {"which": "all"})
    with django_assert_max_num_queries(QUERIES):
        page = text(admin_client.get(reverse("dashboard")))
    assert "Every server serves what it should." in page
    assert f"expires on {timezone.localtime(pair.not_after):%Y-%m-%d}, in 824 days." in page
    assert "On 3 hosts" in page
    broken(hosts[0])
    admin_client.post(reverse("diagnosis"))
    page = text(admin_client.get(reverse("dashboard")))
    assert "1 server does not serve what it should." in page
    assert "What wants attention" in page
    assert "mail1" in text(admin_client.get(reverse("diagnosis"), {"state": "error"}))


def test_pages_speak_japanese_to_a_japanese_browser(admin_client: Client) -> None:
    response = admin_client.get(reverse("dashboard"), headers={"Accept-Language": "ja"})
    assert '<html lang="ja"' in response.content.decode()


def test_people_that_are_gone_still_stand_in_the_history(
    admin_client: Client, hosts: list[Host], pair: Pair, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(reverse("deployment_new", args=[pair.pk]), {"which": "all"})
    other = Client()
    other.force_login(User.objects.create_superuser("hanako"))
    User.objects.filter(username="admin").delete()
    assert "admin" in text(other.get(reverse("installation_list")))


@pytest.mark.parametrize(("language", "portal"), [("en", "the portal itself"), ("ja", "ポータル")])
def test_what_a_command_did_was_done_by_the_portal_in_the_readers_words(
    admin_client: Client, tmp_path: Path, language: str, portal: str
) -> None:
    host = local_host(tmp_path)
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    row = deployment.installations.get()
    reads = {"accept-language": language}
    for address in (
        reverse("dashboard"),
        host.get_absolute_url(),
        deployment.get_absolute_url(),
        row.get_absolute_url(),
        reverse("deployment_list"),
        reverse("installation_list"),
        reverse("audit_list"),
    ):
        page = text(admin_client.get(address, headers=reads))
        assert portal in page, address
        assert not re.search(r"(?<!perating )(?<!Like the )\bsystem\b", page), address
    for name in ("deployment_list", "installation_list", "audit_list"):
        found = admin_client.get(reverse(name), {"person": portal}, headers=reads)
        assert len(found.context["table"].rows) > 0, name
        none = admin_client.get(reverse(name), {"person": "hanako"}, headers=reads)
        assert len(none.context["table"].rows) == 0, name


def test_an_older_account_called_system_is_not_the_portal(
    admin_client: Client, tmp_path: Path
) -> None:
    person = User.objects.create_superuser("system")
    host = local_host(tmp_path)
    deployment = deploy.create_deployment(issued_pair(), [host], by=person)
    for address in (
        reverse("dashboard"),
        host.get_absolute_url(),
        deployment.get_absolute_url(),
        deployment.installations.get().get_absolute_url(),
        reverse("deployment_list"),
        reverse("installation_list"),
    ):
        page = text(admin_client.get(address))
        assert re.search(r"(?<!perating )(?<!Like the )\bsystem\b", page), address
        assert "the portal itself" not in page, address
    for name in ("deployment_list", "installation_list", "audit_list"):
        by_person, by_portal = (
            {row.record.pk for row in page.context["table"].rows}
            for page in (
                admin_client.get(reverse(name), {"person": who}) for who in ("system", "the portal")
            )
        )
        assert by_person - by_portal, name
        assert by_portal < by_person, name
