"""Migrations that change rows, with rows as the version before left them."""

from __future__ import annotations

import sqlite3
from typing import Any

from tests.portal import Portal


def sql(portal: Portal, statement: str, *values: Any) -> list[Any]:
    with sqlite3.connect(portal.home / "xmailadmin.sqlite3") as database:
        found = database.execute(statement, values).fetchall()
    database.close()
    return found


def test_an_audit_that_is_there_gets_its_seal_once(new_portal: Portal) -> None:
    new_portal.manage("prepare")
    new_portal.manage("migrate", "xmailadmin", "0002")
    (before,) = sql(new_portal, "SELECT * FROM xmailadmin_audithead")
    key = new_portal.home / "master.key"
    away = key.rename(key.with_name("away"))
    refused = new_portal.manage("prepare", check=False)
    assert refused.returncode == 1
    assert "There is no master key: put it back" in refused.stderr
    assert refused.stderr.count("\n") == 1, "one line, no traceback"
    assert sql(new_portal, "SELECT * FROM xmailadmin_audithead") == [before]
    away.rename(key)
    assert "complete and unchanged" in new_portal.manage("verify_audit").stdout
    sql(new_portal, "UPDATE xmailadmin_audithead SET seal = '', key_sealed = ''")
    new_portal.manage("prepare")
    told = new_portal.manage("verify_audit", check=False)
    assert "The seal of the portal is not on the end of the audit" in told.stdout
    assert told.returncode == 1
