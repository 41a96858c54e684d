"""The ticker: Celery beat with its schedule in memory, which rings and says that it lives.

Any number may run; what two of them ring for twice is done once all the same (hosts/turns.py).
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.beat import Scheduler
from django.db import DatabaseError, close_old_connections

from hosts.models import Heartbeat
from xmailadmin.celery import ring, waiting_messages

__all__ = ["Ticker"]

logger = logging.getLogger(__name__)

JUMP_S = 10
# Messages that wait while there is no worker to take them. (An expiry would go by the clocks of two
# machines, and a worker whose clock is ahead would take none.)
ENOUGH = 20


class Ticker(Scheduler):
    """Sends what is due; neither a broker nor a database that is away makes it stop or wait."""

    producer = None  # type: ignore[assignment]  # ring() has one of its own
    _clock: float | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        self._follow_the_clock()
        delay: float = super().tick(*args, **kwargs)
        try:
            Heartbeat.objects.beat("ticker")
        except DatabaseError as error:
            logger.warning("The ticker cannot say that it lives: %s", error)
        finally:
            close_old_connections()
        return delay

    def apply_async(
        self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any
    ) -> None:
        if advance:
            entry = self.reserve(entry)
        if (waiting_messages("quick") or 0) < ENOUGH:
            ring(entry.task)

    def _follow_the_clock(self) -> None:
        """Starts the schedule anew when somebody has set the clock: else nothing would be due
        until the clock has come as far again as it had been."""
        clock = time.time() - time.monotonic()
        if self._clock is not None and abs(clock - self._clock) > JUMP_S:
            jump = clock - self._clock
            logger.warning("The clock was set by %+.0f s; the schedule starts anew.", jump)
            for entry in self.schedule.values():
                entry.last_run_at = entry.default_now()
            self._heap = None
        self._clock = clock
