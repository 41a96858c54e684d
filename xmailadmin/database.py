"""How the portal talks to PostgreSQL: through a small pool, and never waiting without end."""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

__all__ = ["OPTIONS", "Connection", "limit_waits"]

RV = TypeVar("RV")

WEB_WAITS_S = 7.0  # a page must say within 10 seconds that the database does not answer


class Connection(psycopg.Connection[Any]):
    """A connection that gives up a server which stays silent.

    A server that is stopped, or a machine that is gone without a word, keeps the TCP connection
    open; libpq would wait for it for good.
    """

    #: How long any one answer may take, in seconds; None: as long as it takes (a migration).
    patience_s: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        if timeout is not None or self.patience_s is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience_s)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # what comes later would be taken for the answer to another query
            raise psycopg.OperationalError(
                f"the database has not answered for {self.patience_s:.0f} s"
            ) from None


def limit_waits(patience_s: float = WEB_WAITS_S) -> None:
    """Makes every connection of this process give up a server that is silent for so long."""
    Connection.patience_s = patience_s


OPTIONS: dict[str, Any] = {
    "pool": {"min_size": 1, "max_size": 20, "timeout": 5, "connection_class": Connection},
    "connect_timeout": 5,
    "application_name": "xmailadmin",
    # A machine that is gone is noticed within a minute, wherever a process waits for it.
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
