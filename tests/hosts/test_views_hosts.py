"""The pages of the inventory as a person without JavaScript meets them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from hosts.models import Diagnosis, Host, Installation
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.factories import ENDPOINTS_OFF, files, issued_pair, local_host, on_disk
from tests.hosts.pages import edit, text
from xmailadmin.models import AuditEntry

pytestmark = pytest.mark.django_db


def fields(mailroot: Path | str, **changes: Any) -> dict[str, Any]:
    """What a person sends to register a host."""
    return {
        "name": "mail1",
        "transport": "local",
        "os": "unix",
        "mailroot": str(mailroot),
        "address": "127.0.0.1",
        "memo": "",
        **ENDPOINTS_OFF,
        **changes,
    }


def many_hosts(number: int, **changes: Any) -> list[Host]:
    return Host.objects.bulk_create(
        Host(name=f"mail{at:05}", mailroot=f"/var/MailRoot{at}", **{**ENDPOINTS_OFF, **changes})
        for at in range(number)
    )


def test_every_page_wants_a_person(client: Client) -> None:
    for name in ("dashboard", "host_list", "deployment_list", "installation_list", "diagnosis"):
        response = client.get(reverse(name))
        assert response.status_code == 302
        assert reverse("account_login") in response["Location"]


def test_an_empty_inventory_says_what_to_do_first(admin_client: Client) -> None:
    assert "No host is registered yet" in text(admin_client.get(reverse("host_list")))
    assert "Register your XMail servers" in text(admin_client.get(reverse("dashboard")))


def test_a_host_is_registered_looked_at_and_recorded(
    admin_client: Client, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(reverse("host_add"), fields(mailroot), follow=True)
    page = text(response)
    assert "mail1 is registered." in page
    assert f"{mailroot} is a MailRoot and can be written." in page
    host = Host.objects.get()
    assert host.created_by is not None
    assert Diagnosis.objects.filter(host=host).exists()
    assert AuditEntry.objects.filter(action="host.add", object_id=str(host.pk)).exists()


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"mailroot": ""}, "mailroot", "server.tab"),
        ({"mailroot": "/nowhere/at/all"}, "mailroot", "/nowhere/at/all"),
        ({"mailroot": "var/MailRoot"}, "mailroot", "var/MailRoot"),
        ({"address": "169.254.169.254"}, "address", "169.254.169.254"),
        ({"address": "a b"}, "address", "a b"),
        ({"smtp_port": "70000"}, "smtp_port", "65535"),
        ({"name": ""}, "name", "required"),
    ],
)
def test_a_refusal_names_the_field_and_the_reason(
    admin_client: Client, tmp_path: Path, changes: dict[str, str], field: str, reason: str
) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    response = admin_client.post(reverse("host_add"), fields(mailroot) | changes)
    assert "The host was not saved yet" in text(response)
    assert reason in " ".join(response.context["form"].errors[field])
    assert not Host.objects.exists()


def test_a_directory_that_is_no_mailroot_is_refused(admin_client: Client, tmp_path: Path) -> None:
    response = admin_client.post(reverse("host_add"), fields(tmp_path))
    assert "there is no server.tab in it" in text(response)


def test_a_name_that_is_taken_is_refused_with_what_to_do(
    admin_client: Client, tmp_path: Path
) -> None:
    local_host(tmp_path, "mail1")
    other = make_mailroot(tmp_path / "MailRoot")
    response = admin_client.post(reverse("host_add"), fields(other, name="mail1"))
    assert response.context["form"].errors["name"] == [
        "A host of this name is registered already. Choose another name, or edit that host instead."
    ]


def test_one_mailroot_is_registered_once(admin_client: Client, tmp_path: Path) -> None:
    host = local_host(tmp_path, "mail1")
    response = admin_client.post(reverse("host_add"), fields(host.mailroot, name="mail2"))
    assert "This MailRoot is already registered as mail1." in text(response)
    assert Host.objects.count() == 1


def test_mailroots_may_be_confined_to_a_directory(
    admin_client: Client, tmp_path: Path, settings: Any
) -> None:
    settings.MAILROOT_BASES = [tmp_path / "allowed"]
    mailroot = make_mailroot(tmp_path / "elsewhere")
    response = admin_client.post(reverse("host_add"), fields(mailroot))
    assert "The portal may not use this directory." in text(response)


def test_a_link_is_registered_as_the_directory_that_it_leads_to(
    admin_client: Client, tmp_path: Path, settings: Any
) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    link = tmp_path / "link"
    link.symlink_to(mailroot)
    response = admin_client.post(reverse("host_add"), fields(link), follow=True)
    assert f"{link} leads to {mailroot}, which is registered as the MailRoot." in text(response)
    host = Host.objects.get()
    assert host.mailroot == str(mailroot)
    response = admin_client.post(reverse("host_add"), fields(link, name="mail2"))
    assert f"This MailRoot is already registered as {host.name}." in text(response)


def test_a_mailroot_that_became_a_link_is_confirmed_by_its_real_path(
    admin_client: Client, tmp_path: Path
) -> None:
    host = local_host(tmp_path, "mail1")
    moved = Path(host.mailroot).rename(tmp_path / "moved")
    Path(host.mailroot).symlink_to(moved)
    response = edit(admin_client, host, fields(host.mailroot, name="mail1"))
    assert "edit the host and give the real directory" in text(response)
    edit(admin_client, host, fields(moved, name="mail1"))
    host.refresh_from_db()
    assert host.mailroot == str(moved)


def test_a_remote_host_is_looked_at_with_its_secrets_which_are_never_shown_again(
    admin_client: Client, tmp_path: Path
) -> None:
    pair = make_pair("mail.dojo.jp")
    mailroot = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)
    with XMail(mailroot) as xmail:
        sent = fields(
            "",
            transport="ctrl",
            port=xmail.ports["ctrl"],
            user=xmail.user,
            password="wrong-secret",
            trust_fingerprint=pair.sha256.upper(),
        )
        refused = admin_client.post(reverse("host_add"), sent)
        assert not Host.objects.exists()
        assert "wrong-secret" not in refused.content.decode()
        stored = admin_client.post(reverse("host_add"), sent | {"password": xmail.password})
        host = Host.objects.get()
        assert stored["Location"].startswith(host.get_absolute_url())
        assert host.trust_fingerprint == pair.sha256
        assert host.target().credential.password == xmail.password
        page = admin_client.get(reverse("host_edit", args=[host.pk]))
        assert "Leave empty to keep the one that is stored." in text(page)
        assert xmail.password not in page.content.decode()
        edit(admin_client, host, sent | {"password": "", "memo": "rack 3", "smtp_port": "25"})
        host.refresh_from_db()
        assert (host.memo, host.target().credential.password) == ("rack 3", xmail.password)
        elsewhere = sent | {"password": "", "address": "localhost"}
        assert "would go to another place" in text(edit(admin_client, host, elsewhere))


def test_an_edit_that_changes_nothing_about_the_way_there_works_while_the_host_is_away(
    admin_client: Client, tmp_path: Path
) -> None:
    host = local_host(tmp_path, "mail1")
    Path(host.mailroot).rename(tmp_path / "away")
    sent = fields(host.mailroot, memo="out of order")
    response = edit(admin_client, host, sent, follow=True)
    assert "The changes are saved." in text(response)


def test_the_check_answers_in_place_or_with_the_whole_form(
    admin_client: Client, tmp_path: Path
) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    address = reverse("host_mailroot_check")
    part = admin_client.post(address, fields(mailroot), headers={"HX-Request": "true"})
    assert "is a MailRoot and can be written." in text(part)
    assert "<html" not in part.content.decode()
    whole = admin_client.post(address, fields(mailroot, name="kept"))
    assert "is a MailRoot and can be written." in text(whole)
    assert 'value="kept"' in whole.content.decode()
    wrong = admin_client.post(address, fields("/nowhere"), headers={"HX-Request": "true"})
    assert "/nowhere" in text(wrong)
    assert not Host.objects.exists()


def test_a_host_is_edited_and_keeps_its_own_mailroot(admin_client: Client, tmp_path: Path) -> None:
    host = local_host(tmp_path, "mail1")
    response = edit(
        admin_client,
        host,
        fields(host.mailroot, name="renamed", memo="rack 3"),
        follow=True,
    )
    assert "The changes are saved." in text(response)
    host.refresh_from_db()
    assert (host.name, host.memo) == ("renamed", "rack 3")


def test_a_disabled_host_takes_no_part_and_comes_back(admin_client: Client, tmp_path: Path) -> None:
    host = local_host(tmp_path, "mail1")
    address = reverse("host_disable", args=[host.pk])
    assert admin_client.get(address).status_code == 405
    for _twice in range(2):
        assert "mail1 is disabled" in text(admin_client.post(address, follow=True))
    pair = issued_pair()
    new = reverse("deployment_new", args=[pair.pk])
    assert "There is no host to install on" in text(admin_client.get(new))
    enable = reverse("host_enable", args=[host.pk])
    for _twice in range(2):
        assert "mail1 is enabled again." in text(admin_client.post(enable, follow=True))
    done = AuditEntry.objects.filter(action__in=("host.disable", "host.enable"))
    assert list(done.values_list("action", flat=True)) == ["host.enable", "host.disable"]
    assert "mail1" in text(admin_client.get(new))


def test_deleting_asks_first_and_keeps_the_history(
    admin_client: Client, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    host = local_host(tmp_path, "mail1")
    pair = issued_pair()
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(
            reverse("deployment_new", args=[pair.pk]), {"which": "some", "hosts": [host.pk]}
        )
    address = reverse("host_delete", args=[host.pk])
    assert "Its history of 1 installation is kept." in text(admin_client.get(address))
    assert Host.objects.exists()
    assert "mail1 is deleted." in text(admin_client.post(address, follow=True))
    assert not Host.objects.exists()
    row = Installation.objects.get()
    assert row.host is None
    assert "mail1" in text(admin_client.get(reverse("installation_list")))
    assert "mail1, deleted meanwhile" in text(admin_client.get(row.get_absolute_url()))
    assert on_disk(host) == files(pair)


def test_the_page_of_a_host_shows_record_files_and_wire(
    admin_client: Client, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    host = local_host(tmp_path, "mail1")
    pair = issued_pair()
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(
            reverse("deployment_new", args=[pair.pk]), {"which": "some", "hosts": [host.pk]}
        )
    page = text(admin_client.get(host.get_absolute_url()))
    assert "Record of the portal" in page
    assert "Files in MailRoot The same" in " ".join(page.split())
    assert "In order: A private key and the matching server certificate are installed" in page
    assert "Roll back" in page


def test_asking_for_a_diagnosis_shows_the_page_that_waits(
    admin_client: Client, tmp_path: Path
) -> None:
    host = local_host(tmp_path, "mail1")
    response = admin_client.post(reverse("host_diagnose", args=[host.pk]))
    assert response["Location"].startswith(host.get_absolute_url())
    assert "Looking at the host" not in text(admin_client.get(response["Location"]))
    Diagnosis.objects.all().delete()
    waiting = admin_client.get(response["Location"])
    assert "Looking at the host" in text(waiting)
    assert 'hx-trigger="every 1s"' in waiting.content.decode()
    part = admin_client.get(response["Location"], headers={"HX-Request": "true"})
    assert "<html" not in part.content.decode()


def test_what_was_found_arrives_together_with_the_state_of_the_host(
    admin_client: Client, tmp_path: Path
) -> None:
    host = local_host(tmp_path)
    page = admin_client.get(host.get_absolute_url())
    assert page.content.count(b'id="host-state"') == 1
    assert "Not diagnosed yet" in text(page)
    Diagnosis.objects.take([host])
    part = admin_client.get(host.get_absolute_url(), headers={"HX-Request": "true"})
    state = part.content.decode().partition('<span id="host-state" hx-swap-oob="true">')[2]
    assert "Needs attention" in state
    assert "Not diagnosed yet" not in text(part)


def test_the_list_is_searched_filtered_and_sorted(admin_client: Client) -> None:
    many_hosts(3)
    Host.objects.filter(name="mail00001").update(state="error", memo="in the basement")
    Host.objects.filter(name="mail00002").update(disabled=True)
    address = reverse("host_list")

    def names(**query: str) -> list[str]:
        response = admin_client.get(address, query)
        return [row.record.name for row in response.context["table"].paginated_rows]

    assert names(q="basement") == ["mail00001"]
    assert names(q="mail 00001 base") == ["mail00001"]
    assert names(state="error") == ["mail00001"]
    assert names(state="disabled") == ["mail00002"]
    assert names(sort="-name") == ["mail00002", "mail00001", "mail00000"]
    assert "No host fits this search." in text(admin_client.get(address, {"q": "nothing"}))


def test_ten_thousand_hosts_cost_as_many_queries_as_one(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    many_hosts(10_000, state="ok")
    for name in ("host_list", "diagnosis", "dashboard", "guide"):
        with django_assert_max_num_queries(20):
            response = admin_client.get(reverse(name))
        assert response.status_code == 200
    page = text(admin_client.get(reverse("host_list"), {"page": "334"}))
    assert "Page 334 of 334" in page
    assert "mail09999" in page


def test_a_roll_back_asks_and_then_puts_the_earlier_pair_back(
    admin_client: Client, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    host = local_host(tmp_path, "mail1")
    first, second = issued_pair(), issued_pair(common_name="mail2.dojo.jp")
    for pair in (first, second):
        with django_capture_on_commit_callbacks(execute=True):
            admin_client.post(
                reverse("deployment_new", args=[pair.pk]), {"which": "some", "hosts": [host.pk]}
            )
    address = reverse("host_rollback", args=[host.pk])
    page = text(admin_client.get(address))
    assert f"It gets back {first}" in page
    assert on_disk(host) == files(second)
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(address)
    assert on_disk(host) == files(first)


def test_after_a_first_installation_the_pair_is_only_removed_when_asked_to(
    admin_client: Client, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    host = local_host(tmp_path, "mail1")
    address = reverse("host_rollback", args=[host.pk])
    assert "There is nothing to roll back" in text(admin_client.get(address))
    pair = issued_pair()
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(
            reverse("deployment_new", args=[pair.pk]), {"which": "some", "hosts": [host.pk]}
        )
    assert "no pair: there was none before" in text(admin_client.get(address))
    refused = text(admin_client.post(address, follow=True))
    assert "mail1 had no pair before" in refused
    assert on_disk(host) == files(pair)
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(address, {"remove": "on"})
    assert on_disk(host) == (None, None)
    page = text(admin_client.get(host.get_absolute_url()))
    assert "No pair is on record for this host." in page
    assert "has installed no pair on this host yet" not in page


@pytest.mark.parametrize(
    "address",
    [
        "/hosts/?pair=99999999999999999999999&page=x&sort=bogus&state=zz",
        "/history/?host=99999999999999999999999&pair=1e999&since=x&page=999",
        "/history/?host=NaN&pair=-1",
        "/deployments/?pair=1.5&outcome=zz",
        "/diagnosis/?awaiting=2026-11-24T00:00:00&page=zz",
        "/diagnosis/?awaiting=9999-99-99T00:00:00Z",
        "/hosts/?q=%00",
    ],
)
def test_nonsense_in_a_link_is_no_error(admin_client: Client, address: str) -> None:
    many_hosts(1)
    assert admin_client.get(address).status_code == 200


@pytest.mark.parametrize("page", ["/hosts/", "/pairs/", "/diagnosis/", "/matrix/", "/audit/"])
def test_a_search_of_many_words_is_refused_at_once(
    admin_client: Client, page: str, django_assert_max_num_queries: Any
) -> None:
    many_hosts(3)
    began = time.monotonic()
    with django_assert_max_num_queries(30):
        response = admin_client.get(page, {"q": "a " * 20_000})
    assert time.monotonic() - began < 5
    assert "at most 200 characters" in text(response)
    assert "no more than 32 words" in text(admin_client.get(page, {"q": "a " * 40}))
    most = " ".join(f"{number:02x}" for number in range(32))
    assert "no more than" not in text(admin_client.get(page, {"q": most}))


@pytest.mark.parametrize("page", ["/hosts/", "/pairs/", "/deployments/", "/history/", "/audit/"])
@pytest.mark.parametrize("rows", ["-1", "0", "1", "9" * 400, str(2**63), "x"])
def test_nobody_chooses_how_many_rows_a_page_has(
    admin_client: Client, page: str, rows: str
) -> None:
    response = admin_client.get(page, {"per_page": rows, "page": rows})
    assert response.status_code == 200
    assert response.context["table"].paginator.per_page == 30


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
@pytest.mark.parametrize("page", ["/diagnosis/", "/matrix/"])
def test_nobody_waits_for_the_end_of_time(admin_client: Client, page: str, at: str) -> None:
    many_hosts(1)
    response = admin_client.get(page, {"awaiting": at})
    assert response.status_code == 200
    assert not response.context["late"]


@pytest.mark.parametrize("raw", [str(2**63), "9" * 400, "-1", "x", "1.5", ""])
def test_no_host_has_such_a_key(admin_client: Client, raw: str) -> None:
    local_host_pair = issued_pair()
    for address in (reverse("deployment_new", args=[local_host_pair.pk]), reverse("pair_new")):
        sent = {"which": "some", "hosts": [raw], "install_now": "on", "common_name": "a.test"}
        response = admin_client.post(address, sent)
        assert response.status_code == 200
        assert response.context["form"].errors["hosts"]


@pytest.mark.parametrize("name", ["mail\u202egro.1", "mail\x1b[1", "mail\u200b1", "mail\n1"])
def test_a_name_can_be_seen(admin_client: Client, tmp_path: Path, name: str) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    response = admin_client.post(reverse("host_add"), fields(mailroot, name=name))
    assert "character" in " ".join(response.context["form"].errors["name"])
