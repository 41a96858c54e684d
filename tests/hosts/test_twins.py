"""One MailRoot is registered once, however its place is written."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation

from hosts import importing
from hosts.host_form import HostForm, Taken
from hosts.models import Host
from hosts.models.host import WHEREABOUTS
from tests.hosts.pages import edit, text
from tests.hosts.test_views_hosts import fields, many_hosts

pytestmark = pytest.mark.django_db

CTRL = {"transport": "ctrl", "address": "mail.dojo.jp", "user": "admin"}
SFTP = {"transport": "sftp", "address": "mail.dojo.jp", "user": "xmail", "mailroot": "/m"}
WINDOWS = SFTP | {"os": "windows", "mailroot": "C:\\MailRoot"}
JUMP = SFTP | {"address": "10.0.0.5", "jump": "me@jump.dojo.jp"}
TWINS = [
    (CTRL | {"mailroot": "/m"}, {"mailroot": "/n"}),
    (CTRL, {"mailroot": "C:\\m", "user": "other", "os": "windows"}),
    (CTRL, {"port": 6017}),
    (CTRL, {"port": 6018}),
    (CTRL | {"port": 6017}, {"port": 6018}),
    (CTRL | {"port": 7017}, {"mailroot": "/m"}),
    (CTRL, {"address": "MAIL.Dojo.JP."}),
    (SFTP, {"port": 22}),
    (SFTP, {"user": "other"}),
    (SFTP, {"mailroot": "/m/"}),
    (SFTP, {"mailroot": "//m/./"}),
    (SFTP, {"address": "Mail.dojo.jp"}),
    (SFTP | {"address": "2001:db8::1"}, {"address": "[2001:DB8:0::1]"}),
    (SFTP | {"address": "192.0.2.1"}, {"address": "::ffff:192.0.2.1"}),
    (WINDOWS, {"mailroot": "c:/mailroot/"}),
    (WINDOWS, {"mailroot": "C:\\.\\MAILROOT"}),
    (JUMP, {"jump": "me@jump.dojo.jp SHA256:" + "A" * 43}),
    (JUMP, {"jump": "you@JUMP.dojo.jp:22"}),
]
OTHERS = [
    (CTRL, {"port": 7017}),
    (CTRL, {"address": "mail2.dojo.jp"}),
    (CTRL, {"transport": "sftp", "mailroot": "/m"}),
    (SFTP, {"port": 2222}),
    (SFTP, {"mailroot": "/M"}),
    (SFTP, {"mailroot": "/m/m"}),
    (WINDOWS, {"mailroot": "D:\\MailRoot"}),
    (JUMP, {"jump": "me@jump2.dojo.jp"}),
    (JUMP, {"jump": "me@jump.dojo.jp:2222"}),
    (JUMP, {"jump": ""}),
]


def registered(values: dict[str, Any], name: str = "mail1") -> Host:
    return Host.objects.create(name=name, **values)


def sent(values: dict[str, Any], name: str = "mail2") -> dict[str, Any]:
    return fields(values.get("mailroot", ""), name=name) | values


def sheet(*hosts: dict[str, Any]) -> str:
    head = ("name", "user", *WHEREABOUTS)
    rows = [{"name": f"mail{at}", **host} for at, host in enumerate(hosts, 1)]
    lines = [",".join(str(row.get(column, "")) for column in head) for row in rows]
    return "\n".join([",".join(head), *lines, ""])


@pytest.mark.parametrize(("first", "changes"), TWINS)
def test_one_mailroot_is_registered_once_however_it_is_written(
    admin_client: Client, first: dict[str, Any], changes: dict[str, Any]
) -> None:
    registered(first)
    refused = text(admin_client.post(reverse("host_add"), sent(first | changes)))
    what = "host" if first["transport"] == "ctrl" else "MailRoot"
    assert f"This {what} is already registered as mail1." in refused
    assert Host.objects.count() == 1


@pytest.mark.parametrize(("first", "changes"), TWINS)
def test_a_file_holds_one_mailroot_once(first: dict[str, Any], changes: dict[str, Any]) -> None:
    one, other = importing.check(sheet(first, first | changes)).rows
    assert one.problems == []
    assert "already registered as mail1" in " ".join(other.problems)


@pytest.mark.parametrize(("first", "changes"), OTHERS)
def test_another_mailroot_is_another_host(first: dict[str, Any], changes: dict[str, Any]) -> None:
    assert importing.check(sheet(first, first | changes)).good
    registered(first)
    form = HostForm(sent(first | changes))
    form.looks = False
    assert form.is_valid(), form.errors
    form.save()
    assert Host.objects.count() == 2


def test_by_ctrl_the_address_is_what_is_to_be_changed(admin_client: Client) -> None:
    registered(CTRL)
    with translation.override("ja"):
        form = HostForm(sent(CTRL))
        assert form.errors == {"address": ["このホストは mail1 としてすでに登録されています。"]}
    other = registered(CTRL | {"address": "mail2.dojo.jp"}, "mail2")
    page = edit(admin_client, other, sent(CTRL | {"port": 6018}))
    assert page.context["form"].errors["address"] == ["This host is already registered as mail1."]


def test_a_row_that_is_refused_takes_nobodys_place() -> None:
    here = CTRL | {"address": "127.0.0.1"}  # what a host has that is given no other
    first, twin, own = importing.check(sheet(CTRL, CTRL, here)).rows
    assert (first.problems, len(twin.problems), own.problems) == ([], 1, [])


def test_who_registers_at_the_same_moment_gets_no_second_one() -> None:
    checked = importing.check(sheet(CTRL))
    form = HostForm(sent(CTRL | {"port": 6018}))
    form.looks = False
    assert form.is_valid()
    registered(CTRL | {"port": 6017}, "mail0")
    with pytest.raises(Taken):
        importing.save(checked, {}, by=None)
    with pytest.raises(Taken):
        form.save()
    assert Host.objects.count() == 1


def test_a_thousand_hosts_are_compared_in_one_query(
    django_assert_max_num_queries: Any,
) -> None:
    many_hosts(1000, transport="sftp", address="192.0.2.1", user="x")
    for path, twin in (("/nowhere", None), ("/var/MailRoot999/", "mail00999")):
        asked = Host(transport="sftp", address="192.0.2.1", port=22, mailroot=path)
        with django_assert_max_num_queries(1):
            assert asked.twin() == twin
