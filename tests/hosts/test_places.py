"""A pair goes to the place that was asked for, which is on record, or nowhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.forms import model_to_dict
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from certs.models import Pair
from hosts import deploy, ledger, turns
from hosts.host_form import HostForm
from hosts.models import Deployment, Host, Installation
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.factories import ENDPOINTS_OFF, files, issued_pair, local_host, on_disk
from tests.hosts import pages
from tests.hosts.commands import run
from tests.hosts.pages import text
from xmailadmin import audit_words, celery
from xmailadmin.models import AuditEntry

pytestmark = pytest.mark.django_db
Status = Installation.Status


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "ring", lambda *_arguments: True)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return local_host(tmp_path)


Edit = Callable[..., str]


@pytest.fixture
def edit(admin_client: Client, host: Host, tmp_path: Path) -> Edit:
    """Somebody changes the host by its form; "elsewhere" is another MailRoot."""
    elsewhere = make_mailroot(tmp_path / "elsewhere")

    def post(**changes: Any) -> str:
        fields = {"name": host.name, "transport": "local", "os": "unix", "address": "127.0.0.1"}
        sent = {**fields, "mailroot": str(elsewhere), **ENDPOINTS_OFF, **changes}
        return text(pages.edit(admin_client, host, sent, follow=True))

    return post


def run_all() -> None:
    for _ in range(3):
        while ledger.run_next():
            pass
        turns.sweep()


def ended(deployment: Deployment) -> Installation:
    deployment.refresh_from_db()
    assert deployment.finished
    return deployment.installations.get()


def now(host: Host) -> Host:
    return Host.objects.get(pk=host.pk)


def test_what_waits_does_not_go_to_where_the_host_was_moved(
    admin_client: Client, host: Host, edit: Edit
) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    assert "The changes are saved." in edit()
    run_all()
    row = ended(deployment)
    assert row.status == Status.FAILED
    assert on_disk(now(host)) == on_disk(host) == (None, None)
    page = text(admin_client.get(row.get_absolute_url()))
    assert f"The host was changed since: this was to go to {host.mailroot}" in page
    assert row.steps == [], "nobody has even been asked"
    again = deploy.retry(deployment, by=None)
    assert again is not None
    run_all()
    row = ended(again)
    assert (row.status, row.host_place) == (Status.INSTALLED, now(host).mailroot)
    assert on_disk(now(host)) == files(row.pair)  # type: ignore[arg-type]
    assert on_disk(host) == (None, None)


@pytest.mark.parametrize("changes", [{"memo": "rack 3", "name": "renamed"}, {"smtp_port": 25}])
def test_a_host_that_stays_where_it_is_gets_what_waits(
    host: Host, edit: Edit, changes: dict[str, Any]
) -> None:
    pair = issued_pair()
    deployment = deploy.create_deployment(pair, [host], by=None)
    assert "The changes are saved." in edit(mailroot=host.mailroot, **changes)
    Host.objects.update(smtp_port=0)
    run_all()
    assert ended(deployment).status == Status.INSTALLED
    assert on_disk(host) == files(pair)


def test_what_was_asked_for_before_places_were_compared_goes_on(host: Host) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    deployment.installations.update(place_digest="")
    run_all()
    assert ended(deployment).status == Status.INSTALLED


def test_a_host_that_is_to_prove_the_pair_first_and_was_moved_proves_nothing(
    host: Host, edit: Edit, tmp_path: Path
) -> None:
    second = local_host(tmp_path, "mail2")
    deployment = deploy.create_deployment(issued_pair(), [host, second], by=None, first=host)
    edit()
    run_all()
    deployment.refresh_from_db()
    assert deployment.finished
    assert deployment.counts() == {"FAILED": 1, "CANCELLED": 1}
    assert on_disk(second) == (None, None)


# --- Installations that have begun ---------------------------------------------------------------


def half_done(host: Host) -> tuple[Deployment, Installation]:
    """The worker has died: the host has the new key, and the certificate of before."""
    old, new = issued_pair(), issued_pair(common_name="new.dojo.jp")
    write_pair(Path(host.mailroot), files(new)[0], files(old)[1])
    deployment = deploy.create_deployment(new, [host], by=None)
    token, _rows = ledger._claim(turns.ready())
    deployment.installations.update(previous_pair=old, adopted=True)
    worker_died(token)
    return deployment, deployment.installations.get()


def worker_died(token: str) -> None:
    past = timezone.now() - timedelta(seconds=1)
    for model in (Host, Installation):
        model._default_manager.filter(token=token).update(lease_until=past)


def test_half_a_pair_is_finished_before_the_host_may_be_moved(host: Host, edit: Edit) -> None:
    deployment, row = half_done(host)
    assert "has to end with the host as it is" in edit()
    assert now(host).mailroot == host.mailroot
    assert "The changes are saved." in edit(mailroot=host.mailroot, memo="rack 3")
    run_all()
    row = ended(deployment)
    assert row.status == Status.INSTALLED
    assert on_disk(host) == files(row.pair)  # type: ignore[arg-type]
    assert "The changes are saved." in edit()


def test_the_usual_port_may_be_written_out_while_a_worker_is_there(host: Host) -> None:
    Host.objects.update(transport="sftp", address="192.0.2.1", user="xmail")
    host.refresh_from_db()
    deploy.create_deployment(issued_pair(), [host], by=None)
    ledger._claim(turns.ready())

    def change(**changes: Any) -> None:
        sent = {**model_to_dict(now(host), HostForm.Meta.fields), **changes}
        sent["shown"] = HostForm(instance=now(host)).shown
        form = HostForm({name: value for name, value in sent.items() if value is not None},
                        instance=now(host))  # fmt: skip
        form.looks = False
        assert form.is_valid(), form.errors
        form.save()

    change(port=22)
    assert now(host).port == 22
    with pytest.raises(turns.Begun):
        change(port=2222)


def test_nobody_is_moved_while_a_worker_is_there(host: Host, edit: Edit) -> None:
    deploy.create_deployment(issued_pair(), [host], by=None)
    token, rows = ledger._claim(turns.ready())
    assert "has to end with the host as it is" in edit()
    for _news in ledger._Run(token, rows).go():
        pass
    assert "The changes are saved." in edit()


def test_a_worker_that_stood_still_goes_on_at_no_place_once_the_host_was_moved(
    host: Host, edit: Edit
) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    token, rows = ledger._claim(turns.ready())
    worker_died(token)
    assert "The changes are saved." in edit()
    for _news in ledger._Run(token, rows).go():  # it only slept
        pass
    assert on_disk(host) == (None, None)
    run_all()
    assert ended(deployment).status == Status.FAILED
    assert now(host).pair is None


def test_a_host_that_is_moved_past_the_form_gets_no_key_and_says_where_half_a_pair_is(
    host: Host, tmp_path: Path
) -> None:
    deployment, row = half_done(host)
    Host.objects.update(mailroot=str(make_mailroot(tmp_path / "elsewhere")))
    run_all()
    row = ended(deployment)
    assert row.status == Status.FAILED
    told = {"code": "deploy.host_moved_midway", "params": {"place": host.mailroot}}
    assert row.message == told
    assert on_disk(now(host)) == (None, None)


def test_what_two_workers_left_is_not_put_right_at_another_place(host: Host, edit: Edit) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    run_all()
    shutil.rmtree(host.mailroot)
    assert "The changes are saved." in edit()
    assert deploy.put_right(ended(deployment)) is None
    assert on_disk(now(host)) == (None, None)


# --- Roll backs ----------------------------------------------------------------------------------

MOVED = "is at another place by now: what could be rolled back was done at"


@pytest.fixture
def others() -> Pair:
    """The pair of whoever owns the place to which the host is moved."""
    return issued_pair(common_name="others.dojo.jp")


def installed(*hosts: Host) -> Deployment:
    """Each host held another pair before."""
    for _ in range(2):
        latest = deploy.create_deployment(issued_pair(), hosts, by=None)
        run_all()
    return latest


def test_what_was_installed_at_one_place_is_not_rolled_back_at_another(
    admin_client: Client, host: Host, edit: Edit, others: Pair
) -> None:
    latest, before = installed(host), on_disk(host)
    edit()
    write_pair(Path(now(host).mailroot), *files(others))
    address = reverse("host_rollback", args=[host.pk])
    asked = admin_client.get(address)
    assert f"{MOVED} {host.mailroot}." in text(asked)
    assert f'action="{address}"' not in asked.content.decode()
    for pressed in (address, reverse("deployment_rollback", args=[latest.pk])):
        refused = text(admin_client.post(pressed, {"remove": "on"}, follow=True))
        assert f"{MOVED} {host.mailroot}." in refused
    assert MOVED in run("rollback_host", host.name, "--remove").error
    assert MOVED in run("rollback_deployment", str(latest.pk), "--remove").error
    assert not Deployment.objects.filter(kind="ROLLBACK").exists()
    assert (on_disk(now(host)), on_disk(host)) == (files(others), before)
    edit(mailroot=host.mailroot)
    deploy.rollback_host(now(host), by=None)
    run_all()
    assert on_disk(host) != before, "back where it was"


def test_what_is_done_where_the_host_is_now_can_be_rolled_back(
    host: Host, edit: Edit, others: Pair
) -> None:
    installed(host)
    edit()
    write_pair(Path(now(host).mailroot), *files(others))
    deploy.create_deployment(issued_pair(), [now(host)], by=None)
    run_all()
    deploy.rollback_host(now(host), by=None)
    run_all()
    assert on_disk(now(host)) == files(others)
    with pytest.raises(deploy.NothingToRollBack, match=r"rollback\.moved"):
        deploy.rollback_host(now(host), by=None, remove=True)


@pytest.mark.parametrize("by", ["page", "command"])
def test_a_roll_back_of_many_leaves_out_who_was_moved_and_says_so(
    admin_client: Client, host: Host, edit: Edit, tmp_path: Path, others: Pair, by: str
) -> None:
    stays = local_host(tmp_path, "mail2")
    latest = installed(host, stays)
    before = on_disk(stays)
    edit()
    write_pair(Path(now(host).mailroot), *files(others))
    if by == "page":
        address = reverse("deployment_rollback", args=[latest.pk])
        consequences, _, left_out = text(admin_client.get(address)).partition("Left out, because")
        assert stays.name in consequences
        assert f"{host.name} {host.mailroot}" in left_out
        done = text(admin_client.post(address, follow=True))
        assert "1 host is left out, because it is at another place by now." in done
        run_all()
    else:
        told = run("rollback_deployment", str(latest.pk))
        assert f"Left out, at another place by now: {host.name}" in told.error
    back = Deployment.objects.get(kind="ROLLBACK")
    assert [row.host for row in back.installations.all()] == [stays]
    assert on_disk(stays) not in (before, (None, None))
    assert on_disk(now(host)) == files(others)


def test_a_roll_back_that_failed_is_not_tried_again_at_another_place(
    host: Host, edit: Edit
) -> None:
    installed(host)
    back = deploy.rollback_host(host, by=None)
    edit()
    run_all()
    assert ended(back).status == Status.FAILED
    assert deploy.retry(back, by=None) is None
    assert on_disk(now(host)) == (None, None)


# --- What is on record ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({}, "sftp://xmail@mail1.example.jp/var/MailRoot"),
        ({"port": 22}, "sftp://xmail@mail1.example.jp/var/MailRoot"),
        ({"port": 2222}, "sftp://xmail@mail1.example.jp:2222/var/MailRoot"),
        ({"jump": "x@192.0.2.1"}, "sftp://xmail@mail1.example.jp/var/MailRoot via x@192.0.2.1"),
        ({"address": "2001:db8::1", "port": 1}, "sftp://xmail@[2001:db8::1]:1/var/MailRoot"),
        ({"transport": "ctrl", "port": 6017, "jump": "unused@there"}, "ctrl://xmail@mail1.example.jp/var/MailRoot"),
        ({"transport": "ctrl", "port": 22}, "ctrl://xmail@mail1.example.jp:22/var/MailRoot"),
        ({"transport": "ctrl", "mailroot": "", "user": ""}, "ctrl://mail1.example.jp/"),
        ({"transport": "local", "port": 22}, "/var/MailRoot"),
    ],
)  # fmt: skip
def test_a_place_names_what_decides_where_a_key_goes(changes: dict[str, Any], place: str) -> None:
    fields = {"transport": "sftp", "address": "mail1.example.jp", "user": "xmail"}
    assert Host(**{**fields, "mailroot": "/var/MailRoot", **changes}).place == place


@pytest.mark.parametrize("name", ["transport", "address", "port", "user", "jump", "mailroot"])
def test_each_part_of_a_place_is_compared(name: str) -> None:
    fields = {"transport": "sftp"}
    changed = {**fields, name: 9 if name == "port" else "other"}
    assert Host(**changed).place_digest != Host(**fields).place_digest


@pytest.mark.parametrize(
    ("transport", "changes"),
    [
        ("sftp", {"port": 22}),
        ("ctrl", {"port": 6017}),
        ("ctrl", {"jump": "unused@there"}),
        ("local", {"jump": "unused@there"}),
    ],
)
def test_what_makes_no_other_place_is_no_move(transport: str, changes: dict[str, Any]) -> None:
    assert Host(transport=transport, **changes).place_digest == (
        Host(transport=transport).place_digest
    )


def test_the_longest_place_fits_its_column() -> None:
    lengths = {"address": 253, "user": 100, "jump": 300, "mailroot": 500}
    host = Host(transport="sftp", port=65535, **{name: "m" * n for name, n in lengths.items()})
    assert len(host.place) <= Installation._meta.get_field("host_place").max_length  # type: ignore[operator]


def test_the_audit_says_from_where_to_where_a_host_was_moved(host: Host, edit: Edit) -> None:
    edit(password="very-secret")
    entry = AuditEntry.objects.get(action="host.edit")
    assert entry.detail["before"] == {"mailroot": host.mailroot}
    assert entry.detail["now"] == {"mailroot": now(host).mailroot}
    assert "very-secret" not in str(entry.detail)
    shown = dict(audit_words.detail_of(entry.detail, "host"))
    assert shown["before"] == f"MailRoot “{host.mailroot}”"


@pytest.mark.parametrize(
    ("transport", "one", "other"),
    [
        ("sftp", {"mailroot": "/x"}, {"mailroot": "/x/"}),
        ("sftp", {"jump": "me@jump"}, {"jump": "me@jump  SHA256:" + "A" * 43}),
        ("ctrl", {"mailroot": ""}, {"mailroot": "/var/MailRoot"}),
    ],
)
def test_a_place_that_is_only_told_in_another_way_is_the_same(
    transport: str, one: dict[str, str], other: dict[str, str]
) -> None:
    whole = {"transport": transport, "address": "192.0.2.1", "user": "me", "mailroot": "/x"}
    first, second = (Host(**{**whole, **changes}) for changes in (one, other))
    assert first.place_digest == second.place_digest
    assert Host(**{**whole, "address": "192.0.2.2"}).place_digest != first.place_digest
