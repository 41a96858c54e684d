"""Migrations that change rows, with rows as the version before left them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.factories import ENDPOINTS_OFF
from tests.portal import Portal

ISSUED = ("issue_pair", "--country", "JP", "--state", "S", "--locality", "L", "--organization",
          "O", "--key-type", "ec", "--common-name")  # fmt: skip


def sql(portal: Portal, statement: str, *values: Any) -> list[Any]:
    with sqlite3.connect(portal.home / "xmailadmin.sqlite3") as database:
        found = database.execute(statement, values).fetchall()
    database.close()
    return found


def before_the_seal(portal: Portal) -> None:
    """Makes a portal as the version before the seal leaves it."""
    portal.manage("prepare")
    portal.manage("migrate", "xmailadmin", "0002")
    note = portal.home / "audit.head"
    assert note.read_text().endswith(" sealed\n")
    note.write_text(note.read_text().replace(" sealed", ""))


def test_an_audit_that_is_there_gets_its_seal_once(new_portal: Portal) -> None:
    before_the_seal(new_portal)
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


@pytest.mark.parametrize("upgraded", [True, False])
def test_an_entry_that_was_forged_gets_no_seal_from_the_migration(
    new_portal: Portal, upgraded: bool
) -> None:
    """Who can write to the database can take the seal's columns away and have it run again."""
    before_the_seal(new_portal)
    if upgraded:
        new_portal.manage("prepare")
        assert "complete and unchanged" in new_portal.manage("verify_audit").stdout
        new_portal.manage("migrate", "xmailadmin", "0002")
    forge = (
        "from xmailadmin import audit; from xmailadmin.models import AuditEntry; "
        "from django.db import connection; last = AuditEntry.objects.get(); "
        "entry = AuditEntry(number=2, previous=last.sha256, at=audit._now(), action='pair.key'); "
        "entry.sha256 = audit._hash(entry); entry.save(); connection.cursor().execute("
        "'UPDATE xmailadmin_audithead SET number = 2, sha256 = %s', [entry.sha256])"
    )
    new_portal.manage("shell", "--no-imports", "-c", forge)
    for migrated in (True, False):
        told = new_portal.manage("verify_audit", check=False)
        assert ("The end of the audit gets no seal" in told.stderr) == migrated
        assert "The seal of the portal is not on the end of the audit" in told.stdout
        assert told.returncode == 1
    assert new_portal.manage("verify_audit", "--remember", check=False).returncode == 0
    assert "complete and unchanged" in new_portal.manage("verify_audit").stdout


def test_the_migration_seals_no_audit_that_had_a_seal(new_portal: Portal) -> None:
    new_portal.manage("prepare")
    new_portal.manage("migrate", "xmailadmin", "0002")
    told = new_portal.manage("verify_audit", check=False)
    assert "The seal of the portal is not on the end of the audit" in told.stdout
    assert told.returncode == 1


def test_dates_that_no_page_could_show_in_every_time_zone_are_put_within(
    new_portal: Portal,
) -> None:
    new_portal.manage(*ISSUED, "mail.dojo.jp")
    new_portal.manage(*ISSUED, "other.dojo.jp")
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


@pytest.mark.slow
def test_keys_beside_certificates_are_sealed_in_postgresql(
    new_portal: Portal, tmp_path: Path, postgres_database: str
) -> None:
    new_portal.extra_environment = {"DATABASE_URL": postgres_database}
    certificate, combined = installed_over_both(new_portal, tmp_path)
    read = (
        "from certs.models import Pair; found = Pair.objects.get(origin='ADOPTED'); "
        "print(b'PRIVATE' in found.certificate_pem, b'PRIVATE' in found.certificate_file())"
    )
    new_portal.manage("migrate", "certs", "0005")
    new_portal.manage("prepare")
    assert new_portal.manage("shell", "--no-imports", "-c", read).stdout.split() == [
        "False",
        "True",
    ]
    new_portal.manage("rollback_host", "comb")
    assert certificate.read_bytes() == combined


def installed_over_both(portal: Portal, place: Path) -> tuple[Path, bytes]:
    """The certificate file of a host with a new pair, and what it held before: the key, too."""
    found = make_pair("old.test")
    combined = found.key + found.certificate
    mailroot = make_mailroot(place / "MailRoot", key=found.key, certificate=combined)
    off = [word for name in ENDPOINTS_OFF for word in (f"--{name.replace('_', '-')}", "0")]
    portal.manage("prepare")
    portal.manage("add_host", "comb", "--transport", "local", "--mailroot", str(mailroot), *off)
    portal.manage(*ISSUED, "mail.dojo.jp", "--install", "comb")
    certificate = mailroot / "server.cert"
    assert certificate.read_bytes() != combined
    return certificate, combined


def test_keys_beside_certificates_are_sealed_and_nothing_is_left_of_them(
    new_portal: Portal, tmp_path: Path
) -> None:
    certificate, combined = installed_over_both(new_portal, tmp_path)
    new_portal.manage("migrate", "certs", "0005")
    row = "SELECT certificate FROM certs_pair WHERE origin = 'ADOPTED'"
    assert sql(new_portal, row) == [(combined,)], "as the version before has it"
    key = new_portal.home / "master.key"
    away = key.rename(key.with_name("away"))
    refused = new_portal.manage("prepare", check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "There is no master key: put it back" in refused.stderr
    assert sql(new_portal, row) == [(combined,)]
    away.rename(key)

    new_portal.manage("prepare")
    assert sql(new_portal, row) == [(combined[combined.index(b"-----BEGIN CERT") :],)]
    for path in new_portal.home.glob("xmailadmin.sqlite3*"):
        assert b"PRIVATE KEY" not in path.read_bytes(), path.name
    new_portal.manage("rotate_master_key")
    new_portal.manage("rollback_host", "comb")
    assert certificate.read_bytes() == combined
    assert certificate.stat().st_mode & 0o777 == 0o600
