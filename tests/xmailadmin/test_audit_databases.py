"""What several do at once, on both databases: writing the audit, and inviting people."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.portal import CHECKOUT, Portal

PROCESSES, THREADS, ROWS = 2, 4, 10
WRITE = f"""
from threading import Thread
from django.db import connection
from xmailadmin import audit

def write():
    for number in range({ROWS}):
        audit.record(None, "host.edit", None, fields=[str(number), "\\0 and \\ud800"])
    connection.close()

threads = [Thread(target=write) for _ in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
TAMPER = """
from django.db import DatabaseError, connection
from xmailadmin import audit
from xmailadmin.models import AuditEntry

COLUMNS = ", ".join(field.column for field in AuditEntry._meta.concrete_fields)
CHANGED = COLUMNS.replace("action", "'x'")
REPLACE = f"INSERT OR REPLACE INTO xmailadmin_auditentry ({COLUMNS}) SELECT "
statements = ["UPDATE xmailadmin_auditentry SET action = 'x'",
              "DELETE FROM xmailadmin_auditentry"]
if connection.vendor == "sqlite":
    statements += [REPLACE + CHANGED + " FROM xmailadmin_auditentry WHERE number = 1",
                   REPLACE + CHANGED.replace("id, number", "id + 100000, number", 1) +
                   " FROM xmailadmin_auditentry WHERE number = 1"]
else:
    statements += ["TRUNCATE xmailadmin_auditentry",
                   "TRUNCATE xmailadmin_auditentry RESTART IDENTITY CASCADE"]
for statement in statements:
    try:
        connection.cursor().execute(statement)
    except DatabaseError as error:
        print("only ever added" in str(error))
print(len(list(audit.verify())), AuditEntry.objects.count())
"""


INVITE = """
from threading import Barrier, Thread
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import connection
from django.test import RequestFactory
from xmailadmin.models import User
from xmailadmin.views import people

together = Barrier(4)
asked = {"same name": [("taro", "")] * 4,
         "same address": [(f"jiro{n}", "j@example.jp" if n % 2 else "J@Example.jp")
                          for n in range(4)]}

def invite(name, email, told):
    request = RequestFactory().post("/", {"username": name, "email": email, "roles": ["viewer"]})
    request.user, request.session = User.objects.get(username="admin"), {}
    request._messages = FallbackStorage(request)
    together.wait()
    try:
        page = people.person_invite(request).content.decode()
        told.append("link" if "/account/link/" in page else page.count("There is already an acc"))
    except Exception as error:
        told.append(repr(error))
    connection.close()

for kind, who in asked.items():
    told = []
    threads = [Thread(target=invite, args=(*each, told)) for each in who]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(kind, sorted(map(str, told)))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def portal(request: pytest.FixtureRequest, tmp_path: Path) -> Portal:
    portal = Portal(tmp_path / "portal")
    if request.param == "postgresql":
        portal.extra_environment = {"DATABASE_URL": request.getfixturevalue("postgres_database")}
    return portal


def shell(portal: Portal, script: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHECKOUT / "manage.py"), "shell", "--verbosity=0", "-c", script]
    return subprocess.Popen(
        command, env=portal.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_the_chain_holds_and_the_database_guards_it(portal: Portal) -> None:
    before = portal.manage_json("verify_audit")
    assert before["problems"] == []
    writers = [shell(portal, WRITE) for _ in range(PROCESSES)]
    for writer in writers:
        out, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, out + err
    out, err = shell(portal, TAMPER).communicate(timeout=120)
    entries = before["entries"] + PROCESSES * THREADS * ROWS
    assert out.splitlines() == [*["True"] * 4, f"0 {entries}"], err


@pytest.mark.slow
def test_of_several_invitations_at_once_one_is_made(portal: Portal) -> None:
    portal.manage("prepare")
    out, err = shell(portal, INVITE).communicate(timeout=120)
    told = "['1', '1', '1', 'link']"
    assert out.splitlines() == [f"same name {told}", f"same address {told}"], err
