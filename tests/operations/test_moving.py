"""A portal that has grown out of SQLite moves to PostgreSQL and loses nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.mailroot import make_mailroot
from tests.portal import Portal
from tests.servers import postgres_cluster, running

PAIR = (
    "issue_pair", "--country", "JP", "--state", "東京都", "--locality", "渋谷区",
    "--organization", "エックスメール株式会社", "--key-type", "ec", "--common-name",
)  # fmt: skip
OFF = [
    word for name in ("smtp", "smtps", "pop3", "pop3s", "ctrls") for word in (f"--{name}-port", "0")
]


@pytest.fixture(scope="module")
def _databases() -> Iterator[Iterator[str]]:
    with (
        postgres_cluster() as cluster,
        running(cluster.command, cluster.log, cluster.answers, user=cluster.user, number=2),
    ):
        yield (cluster.create_database(f"portal{number}") for number in range(100))


@pytest.fixture
def database(_databases: Iterator[str]) -> str:
    """The URL of an empty database."""
    return next(_databases)


@pytest.fixture
def old(tmp_path: Path) -> Portal:
    """A SQLite portal with a host, a pair that it found there, one that it installed, and more."""
    portal = Portal(tmp_path / "portal")
    mailroot = make_mailroot(tmp_path / "mail1", key=b"an old\r\nkey", certificate=b"not PEM")
    portal.manage("prepare")
    portal.manage("add_host", "mail1", "--transport", "local", "--mailroot", str(mailroot), *OFF)
    portal.manage(*PAIR, "mail.dojo.jp", "--install", "mail1")
    portal.manage(*PAIR, "second.dojo.jp", "--memo", "予備 ◎")
    return portal


def on(portal: Portal, database: str) -> Portal:
    """The same data directory, with its rows in PostgreSQL."""
    return Portal(portal.home, {"DATABASE_URL": database})


def counts(portal: Portal) -> dict[str, int]:
    """How many rows each table of ours holds in SQLite."""
    connection = sqlite3.connect(portal.home / "xmailadmin.sqlite3")
    tables = connection.execute(
        "select name from sqlite_master where type = 'table'"
        " and (name like 'hosts%' or name like 'certs%')"
    )
    found = {}
    for (name,) in tables.fetchall():
        ((found[name],),) = connection.execute(f"select count(*) from {name}")  # noqa: S608
    connection.close()
    return found


#: An installation that names an earlier one.
PUT_RIGHT = """
from hosts import deploy, ledger
from hosts.models import Installation
list(ledger.work(deploy.put_right(Installation.objects.get())))
assert Installation.objects.latest("pk").puts_right_id == 1
"""


def test_every_row_arrives_and_the_work_goes_on(old: Portal, database: str, tmp_path: Path) -> None:
    old.manage("shell", "--no-imports", "-c", PUT_RIGHT)
    before = (old.home / "xmailadmin.sqlite3").read_bytes()
    new = on(old, database)
    told = new.manage_json("migrate_home")
    assert told["rows"] == sum(told["moved"].values()) > 50
    assert told["audit_problems"] == 0
    arrived = {label.replace(".", "_").lower(): number for label, number in told["moved"].items()}
    for table, number in counts(old).items():
        if table in arrived:
            assert arrived[table] == number, table
    assert (old.home / "xmailadmin.sqlite3").read_bytes() == before
    assert new.manage("verify_audit").returncode == 0
    # The moved key opens, new rows get numbers of their own, and the way back is still known.
    again = new.manage_json("deploy_pair", "1", "mail1")
    assert again["installations"][0]["status"] == "UNCHANGED"
    made = new.manage_json(*PAIR, "third.dojo.jp", "--install", "mail1")
    assert made["pair"]["id"] > 3
    assert made["installations"][0]["status"] == "INSTALLED"
    with new.up():
        assert new.status("/healthz") == 200
        assert new.status("/account/login/") == 200


def test_a_second_run_does_nothing_and_another_portal_is_left_alone(
    old: Portal, database: str
) -> None:
    new = on(old, database)
    new.manage("migrate_home")
    assert new.manage_json("migrate_home")["rows"] == 0
    old.manage(*PAIR, "meanwhile.dojo.jp")  # what the new one has not
    refused = new.manage("migrate_home", check=False)
    assert refused.returncode == 1
    assert "holds a portal already" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_cannot_be_moved_is_refused_in_words(
    old: Portal, database: str, tmp_path: Path
) -> None:
    refused = old.manage("migrate_home", check=False)
    assert (refused.returncode, "names no PostgreSQL" in refused.stderr) == (1, True)
    new = on(old, database)
    refused = new.manage("migrate_home", "--source", str(tmp_path / "none"), check=False)
    assert (refused.returncode, "There is no" in refused.stderr) == (1, True)
    (tmp_path / "text").write_text("no database at all, whatever its name")
    refused = new.manage("migrate_home", "--source", str(tmp_path / "text"), check=False)
    assert (refused.returncode, "cannot be read" in refused.stderr) == (1, True)
    with old.up():
        told = [new.manage("migrate_home", check=False).stderr for _ in range(6)]  # beats come
    assert any("still running" in each for each in told)


def test_a_lost_master_key_leaves_the_new_database_empty(old: Portal, database: str) -> None:
    key = (old.home / "master.key").read_text()
    (old.home / "master.key").write_text("A" * 43 + "=\n")
    new = on(old, database)
    refused = new.manage("migrate_home", check=False)
    assert refused.returncode == 1
    assert "cannot be opened" in refused.stderr
    (old.home / "master.key").write_text(key)
    assert new.manage_json("migrate_home")["rows"] > 50


ODD = {
    "xmailadmin_user 1 (date_joined)": "UPDATE xmailadmin_user SET date_joined = 'garbage'",
    "xmailadmin_user 1 (last_login)": "UPDATE xmailadmin_user SET last_login = 'argon2'",
    "xmailadmin_user 1 (email)": "UPDATE xmailadmin_user SET email = CAST(X'ff41' AS TEXT)",
    "xmailadmin_user 1 (username)": "UPDATE xmailadmin_user SET username = substr(password, 1)"
    " || hex(zeroblob(100))",
    "hosts_host 1 (smtp_port)": "UPDATE hosts_host SET smtp_port = 'argon2'",
    "hosts_installation 1 (notes)": "UPDATE hosts_installation SET notes = '{argon2'",
    "hosts_installation (": "UPDATE hosts_installation SET host_id = 4711",
}


def test_what_is_odd_is_named_and_not_shown(old: Portal, database: str, tmp_path: Path) -> None:
    new = on(old, database)
    file = old.home / "xmailadmin.sqlite3"
    for where, statement in ODD.items():
        odd = tmp_path / "odd"
        odd.write_bytes(file.read_bytes())
        connection = sqlite3.connect(odd)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.commit()
        connection.close()
        refused = new.manage("migrate_home", "--source", str(odd), check=False)
        assert refused.returncode == 1, where
        assert f"holds: {where}" in refused.stderr
        assert refused.stderr.count("\n") == 1, f"one line, no traceback: {refused.stderr}"
        told = refused.stdout + refused.stderr
        for value in ("argon2", "garbage", "mail1", "4711"):
            assert value not in told, where
    assert new.manage_json("migrate_home")["rows"] > 50, "nothing was left behind"
