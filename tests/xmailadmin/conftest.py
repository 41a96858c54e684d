"""What the tests of people and access share."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction


@pytest.fixture(autouse=True)
def _master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


@pytest.fixture
def commits(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the portal puts off until a commit is done at the end of its own transactions.

    In a test they are savepoints of one that is rolled back. A test that really commits empties
    every table at its end instead, of what migrations put there too.
    """
    outside = len(connection.atomic_blocks)
    leave = transaction.Atomic.__exit__

    def leave_and_commit(block: transaction.Atomic, *error: Any) -> None:
        leave(block, *error)
        if len(connection.atomic_blocks) == outside:
            waiting, connection.run_on_commit = connection.run_on_commit, []
            for entry in waiting:
                entry[1]()

    monkeypatch.setattr(transaction.Atomic, "__exit__", leave_and_commit)
