"""A host or note that one person deletes while another one does something with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from certs.models import Pair
from hosts import deploy, ledger
from hosts.diagnosis import findings as judge
from hosts.facts import Facts
from hosts.finding import Finding
from hosts.models import Deployment, Diagnosis, Host
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import make_pair
from tests.factories import ENDPOINTS_OFF, files, issued_pair, local_host
from tests.hosts.commands import PAIR, run
from tests.hosts.pages import text
from tests.portal import Portal
from xmailadmin import celery
from xmailadmin.models import AuditEntry

GONE = "One of these hosts was changed, disabled or deleted meanwhile. Please choose again."


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")
    monkeypatch.setattr(celery, "ring", lambda *_arguments: True)


@pytest.fixture
def hosts(tmp_path: Path) -> list[Host]:
    return [local_host(tmp_path, f"mail{number}") for number in (1, 2, 3)]


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, Host], None]:
    """Has a colleague delete a host just before something is done."""

    def arrange(module: Any, name: str, host: Host) -> None:
        usual = getattr(module, name)

        def late(*given: Any, **named: Any) -> Any:
            Host.objects.filter(pk=host.pk).delete()
            return usual(*given, **named)

        monkeypatch.setattr(module, name, late)

    return arrange


@pytest.mark.django_db
@pytest.mark.parametrize("which", ["all", "some"])
def test_nothing_is_installed_if_a_host_was_deleted_since_it_was_chosen(
    admin_client: Client, hosts: list[Host], before: Any, which: str
) -> None:
    address = reverse("deployment_new", args=[issued_pair().pk])
    before(deploy, "create_deployment", hosts[1])
    page = admin_client.post(address, {"which": which, "hosts": [host.pk for host in hosts]})
    assert page.status_code == 200
    assert GONE in text(page)
    assert not Deployment.objects.exists()
    assert not AuditEntry.objects.filter(action__in=("deployment.install", "pair.send")).exists()


@pytest.mark.django_db
def test_no_pair_is_made_for_a_host_that_was_deleted(
    admin_client: Client, hosts: list[Host], before: Any
) -> None:
    before(deploy, "held", hosts[1])
    sent = {
        "country": "JP", "state": "Tokyo", "locality": "Shibuya-ku", "organization": "X",
        "common_name": "mail.dojo.jp", "key_size": "ec-256", "days": "365",
        "install_now": "on", "which": "all",
    }  # fmt: skip
    page = admin_client.post(reverse("pair_new"), sent)
    assert GONE in text(page), page.context["form"].errors
    assert not Pair.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "act", ["host_rollback", "host_reinstall", "deployment_rollback", "deploy_pair", "issue_pair"]
)
def test_whatever_begins_an_installation_says_that_a_host_was_deleted(
    admin_client: Client, hosts: list[Host], before: Any, act: str
) -> None:
    for pair in (issued_pair(), issued_pair()):
        latest = deploy.create_deployment(pair, hosts, by=None)
        list(ledger.work(latest))
    before(deploy, "held", hosts[0])
    asked = Deployment.objects.count()
    if act == "host_reinstall":
        assert admin_client.post(reverse(act, args=[hosts[0].pk])).status_code == 404
    elif act.endswith("rollback"):
        number = latest.pk if act == "deployment_rollback" else hosts[0].pk
        assert GONE in text(admin_client.post(reverse(act, args=[number]), follow=True))
    elif act == "deploy_pair":
        assert GONE in run(act, str(pair.pk), "--all").error
    else:
        # It has the function by name, and finds the host gone when it installs.
        done = run(act, "--common-name", "m.dojo.jp", *PAIR, "--install", "mail1")
        assert GONE in done.error
    assert Deployment.objects.count() == asked


@pytest.mark.django_db
@pytest.mark.parametrize("deed", ["delete", "disable"])
def test_a_host_that_was_deleted_is_not_deleted_or_disabled_again(
    admin_client: Client, hosts: list[Host], before: Any, deed: str
) -> None:
    before(deploy, deed, hosts[0])
    assert admin_client.post(reverse(f"host_{deed}", args=[hosts[0].pk])).status_code == 404
    assert not AuditEntry.objects.filter(action=f"host.{deed}").exists()


@pytest.mark.django_db
def test_a_host_that_is_deleted_during_a_look_is_passed_over(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    def findings(facts: Facts, now: datetime) -> list[Finding]:
        if facts.mailroot == hosts[1].mailroot:
            Host.objects.filter(pk=hosts[1].pk).delete()
        return judge(facts, now)

    monkeypatch.setattr("hosts.models.diagnosis.findings", findings)
    kept = Diagnosis.objects.take(hosts)
    assert [row.host.name for row in kept] == ["mail1", "mail3"]
    assert Diagnosis.objects.count() == 2


@pytest.mark.django_db
def test_files_that_somebody_else_has_just_put_on_record_are_that_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = files(issued_pair())
    first = Pair.objects.adopt(*found, found_on="mail1")
    manager = type(Pair.objects)
    usual = manager.filter
    empty = iter([True])

    class Late:
        """The look comes a moment before the other one's commit."""

        def first(self) -> None:
            return None

        def get(self) -> Pair:
            return usual(Pair.objects, pk=first.pk).get()

    def look(self: Any, **wanted: Any) -> Any:
        return Late() if next(empty, False) else usual(self, **wanted)

    monkeypatch.setattr(manager, "filter", look)
    entries = AuditEntry.objects.count()
    assert Pair.objects.adopt(*found, found_on="mail2") == first
    assert AuditEntry.objects.count() == entries


AT_ONCE = """
import json
from threading import Barrier, Thread
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import connection
from django.http import Http404
from django.test import RequestFactory
from django.urls import resolve, reverse
from certs.models import ClientNote, Pair
from hosts.models import Host, ReaderPage
from xmailadmin.models import AuditEntry, User

people = [User.objects.create_superuser(f"taro{number}") for number in range(4)]

def send(person, path, together, told):
    request = RequestFactory().post(path)
    match = resolve(path)
    request.user, request.session, request.resolver_match = person, {}, match
    request._messages = FallbackStorage(request)
    together.wait(60)
    try:
        told.append(match.func(request, *match.args, **match.kwargs).status_code)
    except Http404:
        told.append(404)
    except Exception as error:
        told.append(repr(error))
    connection.close()

def at_once(*paths):
    told, together = [], Barrier(len(paths))
    threads = [Thread(target=send, args=(*each, together, told)) for each in zip(people, paths)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return sorted(map(str, told))

def to(name, row):
    return reverse(name, args=[row.pk])
"""

ONE_THING = """
said = {}
def note(what, answers):
    said.setdefault(what, set()).add(tuple(answers))

for round in range(ROUNDS):
    host = Host.objects.create(name=f"a{round}", mailroot="/none", transport="local")
    note("delete", at_once(*[to("host_delete", host)] * 4))
    host = Host.objects.create(name=f"b{round}", mailroot="/none", transport="local")
    note("disable", at_once(to("host_delete", host), to("host_disable", host)))
    known = ClientNote.objects.order_by("pk").last()
    known.pk, known.key = None, f"own-{round}"
    known.save()
    note("note", at_once(to("client_note_remove", known), to("client_note_confirm", known)))
    said.setdefault("left", set()).add((ClientNote.objects.filter(key=f"own-{round}").count(),))
    pair = [Host.objects.create(name=f"{name}{round}", mailroot=root, transport="local")
            for name, root in zip("cd", MAILROOTS[round])]
    note("adopt", at_once(*[to("host_adopt", host) for host in pair]))
entries = AuditEntry.objects.filter(action="host.delete").count()
said["entries"] = {(entries,)}
said["pairs"] = {(Pair.objects.count(),)}
print(json.dumps({what: sorted(found) for what, found in said.items()}))
"""
ROUNDS = 6


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_of_what_two_do_to_one_thing_nothing_waits_for_ever_and_nothing_comes_back(
    new_portal: Portal, tmp_path: Path, request: pytest.FixtureRequest, database: str
) -> None:
    if database == "postgresql":
        url = request.getfixturevalue("postgres_database")
        new_portal.extra_environment = {"DATABASE_URL": url}
    new_portal.manage("prepare")
    mailroots = []
    for number in range(ROUNDS):
        found = make_pair(f"m{number}.test")
        both = [make_mailroot(tmp_path / f"{name}{number}") for name in "cd"]
        for mailroot in both:
            write_pair(mailroot, found.key, found.certificate)
        mailroots.append([str(mailroot) for mailroot in both])
    script = f"ROUNDS, MAILROOTS = {ROUNDS}, {mailroots!r}\n{AT_ONCE}{ONE_THING}"
    done = new_portal.manage("shell", "--verbosity=0", "-c", script)
    told = json.loads(done.stdout)
    assert told.pop("delete") == [["302", "404", "404", "404"]]
    either = (["302", "302"], ["302", "404"])
    assert all(answers in either for what in ("disable", "note") for answers in told.pop(what))
    assert told == {
        "left": [[0]], "adopt": [["302", "302"]],
        "entries": [[2 * ROUNDS]], "pairs": [[ROUNDS]],
    }  # fmt: skip


DURING_A_DEPLOYMENT = """
from hosts import deploy, ledger

told = []
for round in range(3):
    named = {f"{round}-{number}": root for number, root in enumerate(MAILROOTS[round::3])}
    hosts = [Host.objects.create(name=name, mailroot=root, transport="local", **OFF)
             for name, root in named.items()]
    pair = Pair.objects.latest("pk")
    deployment = deploy.create_deployment(pair, hosts, by=None)

    def work():
        told.append(len(list(ledger.work(deployment))))
        connection.close()

    def install():
        try:
            deploy.create_deployment(pair, list(Host.objects.all()), by=None)
        except deploy.HostGone:
            pass
        except Exception as error:
            told.append(repr(error))
        connection.close()

    threads = [Thread(target=work), *[Thread(target=install) for _ in range(4)]]
    for host in hosts[:4]:
        for name in ("host_disable", "host_delete", "host_delete"):
            about = (people[0], to(name, host), Barrier(1), told)
            threads.append(Thread(target=send, args=about))
    for thread in threads: thread.start()
    for thread in threads: thread.join()
deleted = AuditEntry.objects.filter(action="host.delete").count()
print(json.dumps([told, Host.objects.count(), deleted]))
"""


@pytest.mark.slow
def test_hosts_are_deleted_and_disabled_while_pairs_are_installed_on_them(
    new_portal: Portal, tmp_path: Path, postgres_database: str
) -> None:
    new_portal.extra_environment = {"DATABASE_URL": postgres_database}
    new_portal.manage("prepare")
    new_portal.manage("issue_pair", "--common-name", "m.dojo.jp", *PAIR)
    mailroots = []
    for number in range(36):  # each holds a pair that nobody knows, and is put on record first
        found = make_pair(f"m{number}.test")
        mailroot = make_mailroot(tmp_path / f"h{number}")
        write_pair(mailroot, found.key, found.certificate)
        mailroots.append(str(mailroot))
    script = f"MAILROOTS, OFF = {mailroots!r}, {ENDPOINTS_OFF!r}\n{AT_ONCE}{DURING_A_DEPLOYMENT}"
    done = new_portal.manage("shell", "--verbosity=0", "-c", script)
    told, left, deleted = json.loads(done.stdout)
    assert [told.count(12), told.count(302) + told.count(404), len(told)] == [3, 36, 39], told
    assert told.count(302) >= 12
    assert left + deleted == 36
    assert deleted <= 12
    assert "cannot be written" not in done.stderr
