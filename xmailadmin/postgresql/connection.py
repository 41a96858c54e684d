"""A connection that gives up a server which stays silent, and what all of them are opened with."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

__all__ = ["OPTIONS", "Connection", "Patience", "limit_waits"]

RV = TypeVar("RV")

WEB_WAITS_S = 6.0  # a page must say within 10 seconds that the database does not answer
LEFT_ALONE_S = 3.0


class Patience:
    """How long this process waits for the database."""

    #: For any one answer, in seconds; None: as long as it takes (a migration, a worker).
    limit_s: float | None = None
    #: Until then (time.monotonic) a database that just did not answer is not asked again: one
    #: request of a page meets it several times, and would wait each time.
    alone_until = float("-inf")

    @classmethod
    def lost(cls) -> None:
        if cls.limit_s is not None:
            cls.alone_until = time.monotonic() + LEFT_ALONE_S

    @classmethod
    def spent(cls) -> bool:
        return time.monotonic() < cls.alone_until


def limit_waits(limit_s: float = WEB_WAITS_S) -> None:
    """Makes this process give up a database that is silent for so long."""
    Patience.limit_s = limit_s


class Connection(psycopg.Connection[Any]):
    """A server that is stopped, or a machine that is gone without a word, keeps the TCP connection
    open, and libpq would wait for it for good."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        limit_s = Patience.limit_s
        if timeout is not None or limit_s is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, limit_s)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # what comes later would be taken for the answer to another query
            Patience.lost()
            raise psycopg.OperationalError(
                f"the database has not answered for {limit_s:.0f} s"
            ) from None


OPTIONS: dict[str, Any] = {
    "pool": {
        "min_size": 1,
        "max_size": 20,
        "timeout": 5,
        # Then whoever wants a connection makes the pool try at once. Its own attempts come at
        # intervals that double: after a minute without the database it would wait for another.
        "reconnect_timeout": 4,
        "connection_class": Connection,
    },
    "connect_timeout": 5,
    "application_name": "xmailadmin",
    # A process that is frozen in the midst of a transaction does not keep its rows locked.
    "options": "-c idle_in_transaction_session_timeout=20s",
    # A machine that is gone is noticed within a minute, wherever a process waits for it.
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
