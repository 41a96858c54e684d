"""The portal in one process, killed at a random moment of a deployment; and its SQLite file locked.

`make faults` kills it 200 times: ten portals at once, for each has to wait until a lease runs out.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.operations.fleet import Fleet, fleet, until
from tests.portal import Portal

pytestmark = pytest.mark.faults
PORTALS, RUNS, HOSTS = 10, 20, 5


@contextmanager
def query(portal: Portal) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(portal.home / "xmailadmin.sqlite3", timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def states(portal: Portal) -> list[tuple[str, int]]:
    """Status and attempts of every installation."""
    with query(portal) as connection:
        return connection.execute("select status, attempts from hosts_installation").fetchall()


def all_installed(portal: Portal) -> bool:
    found = states(portal)
    return len(found) == HOSTS and {status for status, _ in found} == {"INSTALLED"}


def check_whole(hosts: Fleet) -> None:
    assert len(hosts.on_disk()) == 1
    assert not hosts.left_behind()
    for root in hosts.mailroots.values():
        assert (root / "server.key").stat().st_mode & 0o777 == 0o600
    with query(hosts.portal) as connection:
        previous = connection.execute(
            "select count(distinct coalesce(previous_pair_id, 0)) from hosts_installation"
        ).fetchone()
        held = connection.execute("select count(*) from hosts_host where token <> ''").fetchone()
    assert (previous, held) == ((1,), (0,))


def kill_once(directory: Path, seed: int) -> None:
    directory.mkdir()
    portal = Portal(directory / "portal")
    portal.manage("prepare")
    with fleet(portal, directory, hosts=HOSTS, delay_s=0.2) as hosts:
        with portal.up() as process:
            hosts.order()
            time.sleep(random.Random(seed).uniform(0, 3))  # noqa: S311
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        with portal.up():
            until("everything is resumed", lambda: all_installed(portal), 90)
        check_whole(hosts)


@pytest.mark.parametrize("run", range(RUNS))
def test_a_portal_that_is_killed_at_any_moment_loses_nothing(tmp_path: Path, run: int) -> None:
    with ThreadPoolExecutor(PORTALS) as pool:
        began = [
            pool.submit(kill_once, tmp_path / f"{number}", run * PORTALS + number)
            for number in range(PORTALS)
        ]
        for each in began:
            each.result()


@pytest.mark.parametrize("run", range(3))
def test_a_database_that_is_locked_for_half_a_minute_loses_nothing(
    tmp_path: Path, run: int
) -> None:
    portal = Portal(tmp_path / "portal")
    portal.manage("prepare")
    with fleet(portal, tmp_path, hosts=HOSTS, delay_s=0.3) as hosts, portal.up():
        hosts.order()
        until("work has begun", lambda: any(attempts for _, attempts in states(portal)))
        with query(portal) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(30)
            assert portal.status("/healthz") == 200
            connection.rollback()
        until("everything is finished", lambda: all_installed(portal), 90)
        check_whole(hosts)
