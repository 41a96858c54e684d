"""Does many installations at once, in one event loop that knows no database.

Whatever must be recorded (the steps, a pair found on a host, the outcome) goes through a queue to
the thread that started the fan-out (hosts/ledger.py). Before a host is changed, and at its end, the
answer is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hosts.install import LeaseLost, Order, Outcome, PairFiles, install
from hosts.messages import Message
from hosts.transports import Target, open_transport

__all__ = ["Entry", "FanOut", "Job", "stop", "stopping"]

logger = logging.getLogger(__name__)

AT_ONCE = 100  # hosts; docs/decisions.md
BAD = ("ROLLED_BACK", "FAILED", "ERRORED")

stopping = threading.Event()


def stop() -> None:
    """Makes every `run` in this process finish the hosts it has begun and hand back the rest."""
    stopping.set()


@dataclass(frozen=True)
class Job:
    row_id: int
    target: Target
    order: Order
    #: Whether an earlier attempt may have left half a pair on the host.
    resumed: bool = False


@dataclass
class Entry:
    """One thing to record, and whom to tell when it is."""

    row_id: int
    what: str  # "step", "adopt", "done", "hand_back", "overtaken"
    value: Any
    loop: asyncio.AbstractEventLoop | None = None  # None: nobody waits
    told: asyncio.Future[None] | None = None
    error: Exception | None = None
    step: dict[str, Any] | None = None  # as it stands in the row, unless that was rolled back


def tell(entries: Iterable[Entry]) -> None:
    """Says to whoever waits for the entries of one fan-out how recording them went."""
    waited = [entry for entry in entries if entry.told is not None]
    if not waited or (loop := waited[0].loop) is None or loop.is_closed():
        return

    def settle() -> None:
        for entry in waited:
            if entry.told is None or entry.told.done():
                continue
            if entry.error is None:
                entry.told.set_result(None)
            else:
                entry.told.set_exception(entry.error)

    loop.call_soon_threadsafe(settle)  # once for all: each call wakes the loop


#: Steps before which it must be on record what is going to happen, and that the host is still ours.
COMMITTING = frozenset({"STAGE", "SWITCH", "RESTORE"})


class Journal:
    """What install.py tells about one installation.

    A call that comes before a change of the host returns when it, and all that was told before
    it, is on record. The others are recorded in their order, and nobody waits for the commit.
    """

    def __init__(self, entries: queue.SimpleQueue[Entry | None], row_id: int) -> None:
        #: Whether files on the host may have been replaced.
        self.switching = False
        self._entries = entries
        self._row_id = row_id
        self._unanswered: list[asyncio.Future[None]] = []

    async def step(self, step: str, message: Message) -> None:
        self._tell("step", (step, message))
        if step in COMMITTING:
            await self._answers()
        self.switching = self.switching or step == "SWITCH"

    async def adopt(self, previous: PairFiles) -> None:
        self._tell("adopt", previous)

    async def record(self, what: str, value: Any) -> None:
        """Record how it ended, or that it is not done here; returns when that is on record.

        What came of earlier steps does not matter any more: this one alone says who holds the row.
        """
        earlier, self._unanswered = self._unanswered, []
        self._tell(what, value)
        await _results(earlier)
        await self._answers()

    def _tell(self, what: str, value: Any) -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        self._entries.put(Entry(self._row_id, what, value, loop, told))
        self._unanswered.append(told)

    async def _answers(self) -> None:
        """Wait for all of them, and raise what the first one that went wrong says."""
        unanswered, self._unanswered = self._unanswered, []
        for error in await _results(unanswered):
            raise error


async def _results(answers: Iterable[asyncio.Future[None]]) -> list[Exception]:
    """Wait for all of them; returns what went wrong, in their order."""
    errors = []
    for answer in answers:
        try:
            await answer
        except Exception as error:
            errors.append(error)
    return errors


class FanOut:
    """Does many installations at once, in one event loop."""

    def __init__(self, entries: queue.SimpleQueue[Entry | None], failures_left: int | None) -> None:
        self.entries = entries
        self.failures_left = failures_left
        # With a limit on failures, never more hosts at once than may still fail.
        at_once = AT_ONCE if failures_left is None else min(AT_ONCE, max(1, failures_left))
        self.slots = asyncio.Semaphore(at_once)

    async def do(self, jobs: Sequence[Job]) -> None:
        for result in await asyncio.gather(*map(self._one, jobs), return_exceptions=True):
            if isinstance(result, BaseException):
                logger.error("A fan-out task ended by itself", exc_info=result)

    async def _one(self, job: Job) -> None:
        journal = Journal(self.entries, job.row_id)
        async with self.slots:
            try:
                if stopping.is_set() or (self._enough_failed and not job.resumed):
                    await journal.record("hand_back", None)
                    return
                outcome = await self._install(job, journal)
                if self.failures_left is not None and outcome.status in BAD:
                    self.failures_left -= 1
                await journal.record("done", outcome)
            except LeaseLost:
                logger.warning("Installation %s was taken over by another worker", job.row_id)
                if journal.switching and not job.order.place_only:
                    await journal.record("overtaken", None)

    @property
    def _enough_failed(self) -> bool:
        return self.failures_left is not None and self.failures_left < 1

    async def _install(self, job: Job, journal: Journal) -> Outcome:
        try:
            return await install(open_transport(job.target), job.order, journal)
        except LeaseLost:
            raise
        except Exception:
            reference = uuid.uuid4().hex[:8]
            logger.exception("Installation %s, reference %s", job.row_id, reference)
            message = Message("deploy.errored", {"reference": reference})
            return Outcome("ERRORED", message, unsettled=journal.switching)
