"""A database that somebody keeps for themselves shows where machines look."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.operations.fleet import until
from tests.portal import Portal


@pytest.mark.slow
def test_a_locked_database_is_not_ready(portal: Portal) -> None:
    until("the portal is ready", lambda: portal.status("/readyz") == 200)
    with closing(sqlite3.connect(portal.home / "xmailadmin.sqlite3")) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        until("that shows", lambda: portal.status("/readyz") == 503)
        somebody.rollback()
    until("the portal is ready again", lambda: portal.status("/readyz") == 200)
