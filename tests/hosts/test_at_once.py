"""Several people who register or rename hosts at the same moment: each name and MailRoot once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from hosts import importing
from hosts.host_form import HostForm
from hosts.models import Host
from tests.doubles.mailroot import make_mailroot
from tests.factories import ENDPOINTS_OFF, local_host
from tests.hosts.pages import edit, text
from tests.hosts.test_importing import HEAD, upload
from tests.hosts.test_views_hosts import fields
from tests.portal import Portal
from xmailadmin.models import AuditEntry

# What a colleague registers in this very moment, and what the form says then.
TAKEN = {
    "the same name": ({"name": "mail1"}, "A host of this name is registered already."),
    "a name that looks the same": (
        {"name": "Mail1"},
        "This name looks like that of the host Mail1",
    ),
    "the same MailRoot": ({"name": "x"}, "This MailRoot is already registered as x."),
}


@pytest.fixture(autouse=True)
def _master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


@pytest.fixture(params=TAKEN)
def colleague(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Callable[[], Any], str]:
    """What the colleague does, and what whoever was slower reads."""
    values, told = TAKEN[request.param]
    mailroot = tmp_path / ("mine" if request.param == "the same MailRoot" else "other")
    return lambda: Host.objects.create(mailroot=str(mailroot), **values), told


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch, colleague: tuple[Callable[[], Any], str]) -> str:
    """Has the colleague be through just before a good form is saved; returns what is said."""
    look, (act, told) = HostForm.is_valid, colleague

    def slow(form: HostForm) -> bool:
        good = look(form)
        act()
        return good

    monkeypatch.setattr(HostForm, "is_valid", slow)
    return told


@pytest.mark.django_db
def test_what_a_colleague_has_just_registered_is_not_registered_again(
    admin_client: Client, tmp_path: Path, meanwhile: str
) -> None:
    sent = fields(make_mailroot(tmp_path / "mine"), memo="rack 3")
    page = text(admin_client.post(reverse("host_add"), sent))
    assert "The host was not saved yet" in page
    assert meanwhile in page
    assert "rack 3" in page, "what was typed is still there"
    assert Host.objects.count() == 1
    assert not AuditEntry.objects.filter(action="host.add").exists()


@pytest.mark.django_db
def test_a_command_says_so_too(tmp_path: Path, meanwhile: str) -> None:
    mailroot = str(make_mailroot(tmp_path / "mine"))
    off = [f"--{name.removesuffix('_port')}-port=0" for name in ENDPOINTS_OFF]
    with pytest.raises((CommandError, SystemExit)):
        call_command("add_host", "mail1", "--transport", "local", "--mailroot", mailroot, *off)
    assert Host.objects.count() == 1


@pytest.mark.django_db
def test_a_host_does_not_become_what_a_colleague_has_just_registered(
    admin_client: Client, tmp_path: Path, meanwhile: str
) -> None:
    host = local_host(tmp_path, "mail0")
    page = edit(admin_client, host, fields(make_mailroot(tmp_path / "mine")))
    assert meanwhile in text(page)
    host.refresh_from_db()
    assert host.name == "mail0"
    assert host.mailroot == str(tmp_path / "mail0")
    assert not AuditEntry.objects.filter(action="host.edit").exists()


@pytest.mark.django_db
def test_a_file_registers_nothing_if_a_colleague_was_faster(
    admin_client: Client,
    tmp_path: Path,
    colleague: tuple[Callable[[], Any], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    act, _told = colleague
    save = importing.save

    def late(*given: Any, **by: Any) -> list[Host]:
        act()
        return save(*given, **by)

    monkeypatch.setattr(importing, "save", late)
    sheet = f"{HEAD}mail1,local,,,{tmp_path / 'mine'},,\nmail2,ctrl,192.0.2.2,admin,,,\n"
    preview = upload(admin_client, sheet)
    confirmed = {"text": preview.context["sheet"].text}
    page = admin_client.post(reverse("host_import"), confirmed)
    (row,) = page.context["sheet"].bad
    assert row.line == 2
    assert row.problems[0] in text(page)
    assert Host.objects.count() == 1
    assert not AuditEntry.objects.filter(action__startswith="host.").exists()


AT_ONCE = """
import json
from threading import Barrier, Thread
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import connection
from django.test import RequestFactory
from django.urls import resolve, reverse
from hosts.host_form import HostForm
from hosts.models import Host
from hosts.views import enrolment
from xmailadmin.models import User

everybody = Barrier(4)
valid = HostForm.is_valid

def together(form):
    found = valid(form)
    everybody.wait(60)  # all have looked before anybody saves
    return found

HostForm.is_valid = together

people = [User.objects.create_superuser(f"taro{number}") for number in range(4)]

def send(person, sent, told):
    host = Host.objects.filter(mailroot=sent["mailroot"]).first()
    if host:
        sent["shown"] = HostForm(instance=host).shown
    path = reverse("host_edit", args=[host.pk]) if host else reverse("host_add")
    request = RequestFactory().post(path, sent)
    request.user, request.session, request.resolver_match = person, {}, resolve(path)
    request._messages = FallbackStorage(request)
    view = enrolment.host_edit if host else enrolment.host_add
    try:
        page = view(request, **({"pk": host.pk} if host else {}))
        told.append("saved" if page.status_code == 302 else
                    "refused" if "invalid-feedback" in page.content.decode() else "odd page")
    except Exception as error:
        told.append(repr(error))
    connection.close()

for forms in CASES:
    told = []
    threads = [Thread(target=send, args=(*each, told)) for each in zip(people, forms)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(json.dumps(sorted(told)))
print(Host.objects.count())
"""


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_of_four_at_once_one_gets_it(
    new_portal: Portal, tmp_path: Path, request: pytest.FixtureRequest, database: str
) -> None:
    if database == "postgresql":
        new_portal.extra_environment = {
            "DATABASE_URL": request.getfixturevalue("postgres_database")
        }
    new_portal.manage("prepare")
    roots = [make_mailroot(tmp_path / f"MailRoot{number}") for number in range(13)]
    alike = ["alike", "Alike", "ALIKE", "ａｌｉｋｅ"]
    cases = [
        (["mail1"] * 4, roots[:4]),
        (["own1", "own2", "own3", "own4"], roots[4:5] * 4),
        (alike, roots[5:9]),
        (["a", "b", "c", "d"], roots[9:]),
        # Now those four get other names.
        (["new"] * 4, roots[9:]),
        ([f"new {name}" for name in alike], roots[9:]),
    ]
    forms = [
        [fields(root, name=name) for name, root in zip(names, of, strict=True)]
        for names, of in cases
    ]
    script = f"CASES = {forms!r}\n{AT_ONCE}"
    done = new_portal.manage("shell", "--verbosity=0", "-c", script)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    one = ["refused"] * 3 + ["saved"]
    assert told == [one, one, one, ["saved"] * 4, one, one, 7], done.stderr
