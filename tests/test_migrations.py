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


def test_dates_that_no_page_could_show_in_every_time_zone_are_put_within(
    new_portal: Portal,
) -> None:
    issued = ("issue_pair", "--country", "JP", "--state", "S", "--locality", "L", "--organization",
              "O", "--key-type", "ec", "--common-name")  # fmt: skip
    new_portal.manage(*issued, "mail.dojo.jp")
    new_portal.manage(*issued, "other.dojo.jp")
    new_portal.manage("migrate", "certs", "0004")
    dates = "SELECT not_before, not_after FROM certs_pair WHERE id = "
    other = sql(new_portal, dates + "2")
    sql(
        new_portal,
        "UPDATE certs_pair SET not_before = '0001-01-01 00:00:00', "
        "not_after = '9999-12-31 23:59:59' WHERE id = 1",
    )
    new_portal.manage("prepare")
    assert sql(new_portal, dates + "1") == [("0001-01-02 00:00:00", "9999-12-30 23:59:59")]
    assert sql(new_portal, dates + "2") == other
