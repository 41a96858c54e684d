"""Claims installations, has a fan-out of coroutines do them, and records each as it comes.

The coroutines touch hosts and never the database. Whatever must be recorded (each step before it
is taken, a pair found on a host, the outcome) they hand to the thread that called `run`, which
writes a batch in one transaction and answers only after the commit. Every write is conditional on
the claim's token: when another worker has taken the row over, the coroutine is told so by
LeaseLost and leaves the host alone.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import InterfaceError, OperationalError, close_old_connections, transaction
from django.db.models import F
from django.utils import timezone

from certs.clients import missing_names
from certs.facts import CertificateFacts
from certs.models import NoteSnapshot, Pair
from certs.models.lease import LEASE, free, lease_end, new_token
from certs.note_snapshots import snapshot_for
from hosts import deploy
from hosts.client_names import client_names
from hosts.install import LeaseLost, Order, Outcome, PairFiles, install
from hosts.messages import Message
from hosts.models import Deployment, Diagnosis, Host, Installation
from hosts.transports import Target, open_transport
from xmailadmin.vault import VaultError

__all__ = ["run", "stop", "work"]

logger = logging.getLogger(__name__)

AT_ONCE = 100  # hosts; docs/decisions.md
MOST_ATTEMPTS = 5  # an installation that killed its worker this often is given up
HAND_OVER_S = 20.0  # what a host that is being worked on may still take when the portal stops
Status = Installation.Status

_stopping = threading.Event()


def stop() -> None:
    """Makes every `run` in this process finish the hosts it has begun and hand back the rest."""
    _stopping.set()


@dataclass(frozen=True)
class _Job:
    row: Installation
    target: Target
    order: Order


@dataclass
class _Entry:
    """One thing to record, and whom to tell when it is."""

    row_id: int
    what: str  # "step", "adopt", "done", "hand_back"
    value: Any
    loop: asyncio.AbstractEventLoop
    told: asyncio.Future[None]
    error: Exception | None = field(default=None)

    def tell(self) -> None:
        def settle() -> None:
            if self.told.done():
                return
            if self.error is None:
                self.told.set_result(None)
            else:
                self.told.set_exception(self.error)

        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(settle)


class Journal:
    """What install.py tells about one installation; each call returns when it is on record."""

    def __init__(self, entries: queue.SimpleQueue[_Entry], row_id: int) -> None:
        self._entries = entries
        self._row_id = row_id

    async def step(self, step: str, message: Message) -> None:
        await self.record("step", (step, message))

    async def adopt(self, previous: PairFiles) -> None:
        await self.record("adopt", previous)

    async def record(self, what: str, value: Any) -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        self._entries.put(_Entry(self._row_id, what, value, loop, told))
        await told


def run(ids: Iterable[int]) -> list[Installation]:
    """Does the installations among `ids` that are ready and free, and returns them."""
    token, rows = _claim(list(ids))
    if rows:
        _Run(token, rows).go()
        deploy.settle(Deployment.objects.filter(pk__in={row.deployment_id for row in rows}))
    return rows


def work(deployment: Deployment) -> Iterable[Installation]:
    """Does a deployment in this process and yields each installation as it is finished.

    What another process does of it, or what waits for another deployment, is waited for. The
    hosts are diagnosed at the end.
    """
    seen: set[int] = set()
    done_here: set[int] = set()
    while True:
        ids = deploy.ready().filter(deployment=deployment).order_by("pk")
        claimed = run(ids.values_list("pk", flat=True)[: deploy.CHUNK])
        done_here.update(row.host_id for row in claimed if row.host_id is not None)
        deploy.settle(Deployment.objects.filter(pk=deployment.pk))
        rows = deployment.installations.order_by("pk").select_related("pair", "previous_pair")
        for row in rows.exclude(pk__in=seen).exclude(status__in=Installation.UNFINISHED):
            seen.add(row.pk)
            yield row
        deployment.refresh_from_db()
        if deployment.finished:
            Diagnosis.objects.take(Host.objects.filter(pk__in=done_here))
            return
        if not claimed:
            time.sleep(0.2)


def _claim(ids: Sequence[int]) -> tuple[str, list[Installation]]:
    """Takes hosts and their installations by conditional UPDATEs; whoever loses gets no rows."""
    token = new_token()
    with transaction.atomic():
        wanted = deploy.ready().filter(pk__in=ids)
        Host.objects.filter(free(), pk__in=wanted.values("host")).update(
            token=token, lease_until=lease_end()
        )
        wanted.filter(host__token=token).update(
            token=token,
            lease_until=lease_end(),
            status=Status.RUNNING,
            attempts=F("attempts") + 1,
            started_at=timezone.now(),
        )
        rows = list(
            Installation.objects.filter(token=token)
            .select_related("host", "pair", "previous_pair", "deployment")
            .order_by("pk")
        )
        Host.objects.filter(token=token).exclude(pk__in=[row.host_id for row in rows]).update(
            token="", lease_until=None
        )
        # Whoever has to wait for a host may be rung for again as soon as it is free.
        Installation.objects.filter(pk__in=ids, status=Status.QUEUED).update(rung_at=None)
    return token, rows


class _Run:
    """One claimed chunk: builds the jobs, starts the fan-out and records what it reports."""

    def __init__(self, token: str, rows: Sequence[Installation]) -> None:
        self.token = token
        self.rows = {row.pk: row for row in rows}
        self.entries: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
        self.facts: dict[int, CertificateFacts | None] = {}
        self.snapshots: dict[tuple[int, tuple[str, ...]], NoteSnapshot] = {}

    def go(self) -> None:
        jobs = []
        for row in self.rows.values():
            try:
                if row.attempts > MOST_ATTEMPTS:
                    self._finish(row, Outcome("ERRORED", Message("deploy.attempts")))
                else:
                    jobs.append(self._job(row))
            except VaultError as error:
                logger.error("Installation %s: %s", row.pk, error)
                self._finish(row, Outcome("FAILED", Message("deploy.vault")))
        fan_out = _FanOut(self.entries, self._failures_left())
        thread = threading.Thread(
            target=lambda: asyncio.run(fan_out.do(jobs)), name=f"fan-out-{self.token}", daemon=True
        )
        thread.start()
        self._record_until_done(thread)

    def _failures_left(self) -> int | None:
        """Returns after how many more failures no further host may begin; None: never."""
        deployment = next(iter(self.rows.values())).deployment
        if not deployment.stop_after:
            return None
        return (
            deployment.stop_after
            - deployment.installations.filter(status__in=Installation.BAD).count()
        )

    def _job(self, row: Installation) -> _Job:
        assert row.host is not None  # noqa: S101  ready() lets only rows with a host through
        previous = None
        if row.adopted:
            previous = _files(row.previous_pair)
        order = Order(
            files=_files(row.pair),
            place_only=row.deployment.kind == Deployment.Kind.PLACE,
            token=self.token,
            endpoints=row.host.endpoints,
            address=row.host.address,
            previous=previous,
        )
        return _Job(row, row.host.target(), order)

    def _record_until_done(self, thread: threading.Thread) -> None:
        renew_every_s = LEASE.total_seconds() / 4
        renewed = time.monotonic()
        stopped_at = None
        while thread.is_alive() or not self.entries.empty():
            batch = self._next_batch()
            now = time.monotonic()
            if batch or now - renewed > renew_every_s:
                self._record_persistently(batch, renew=now - renewed > renew_every_s)
                if now - renewed > renew_every_s:
                    renewed = now
            if _stopping.is_set():
                stopped_at = stopped_at or now
                if now - stopped_at > HAND_OVER_S:
                    return  # the lease runs out and whoever comes next resumes

    def _next_batch(self) -> list[_Entry]:
        batch = []
        try:
            batch.append(self.entries.get(timeout=0.25))
            while True:
                batch.append(self.entries.get_nowait())
        except queue.Empty:
            return batch

    def _record_persistently(self, batch: list[_Entry], *, renew: bool) -> None:
        """Records the batch, waiting for a database that is away for as long as the lease lasts."""
        give_up = time.monotonic() + LEASE.total_seconds()
        while True:
            try:
                with transaction.atomic():
                    if renew:
                        self._renew()
                    for entry in batch:
                        entry.error = None
                        try:
                            self._record(entry)
                        except LeaseLost as error:
                            entry.error = error
            except (OperationalError, InterfaceError) as error:
                logger.warning("The database cannot be written: %s", error)
                close_old_connections()
                if time.monotonic() > give_up:
                    for entry in batch:
                        entry.error = LeaseLost()
                    break
                time.sleep(1)
            else:
                break
        for entry in batch:
            entry.tell()

    def _renew(self) -> None:
        for model in (Host, Installation):
            model._default_manager.filter(token=self.token).update(lease_until=lease_end())

    def _record(self, entry: _Entry) -> None:
        row = self.rows[entry.row_id]
        if entry.what == "step":
            step, message = entry.value
            row.step = step
            row.steps.append(
                {"step": step, "at": timezone.now().isoformat(), "message": message.to_json()}
            )
            self._write(row, step=step, steps=row.steps)
        elif entry.what == "adopt":
            row.previous_pair = _adopt(row, entry.value)
            self._write(row, previous_pair=row.previous_pair, adopted=True)
        elif entry.what == "hand_back":
            self._write(row, status=Status.QUEUED, token="", lease_until=None)
            Host.objects.filter(installations=row, token=self.token).update(
                token="", lease_until=None
            )
        else:
            self._finish(row, entry.value)

    def _write(self, row: Installation, **values: Any) -> None:
        if not Installation.objects.filter(pk=row.pk, token=self.token).update(**values):
            raise LeaseLost

    def _finish(self, row: Installation, outcome: Outcome) -> None:
        now = timezone.now()
        if outcome.unsettled and row.attempts < MOST_ATTEMPTS:
            # Nobody knows what the host holds now: whoever reaches it next must make it whole. The
            # lease is left to run out, which is the pause before the next attempt.
            self._write(row, message=outcome.message.to_json())
            return
        if outcome.previous is not None and not row.adopted:
            row.previous_pair = _adopt(row, outcome.previous)
        self._write(
            row,
            status=outcome.status,
            step="",
            message=outcome.message.to_json(),
            notes=[note.to_json() for note in outcome.notes],
            endpoints=[result.to_json() for result in outcome.endpoints],
            previous_pair=row.previous_pair,
            client_notes=self._snapshot(row),
            finished_at=now,
            token="",
            lease_until=None,
        )
        host: dict[str, Any] = {}
        if outcome.status in (Status.INSTALLED, Status.UNCHANGED):
            host = {"pair": row.pair, "installed_at": now}
        elif outcome.status == Status.REMOVED:
            host = {"pair": None, "installed_at": None}
        elif outcome.status == Status.ROLLED_BACK:
            host = {"pair": row.previous_pair}
        self._free_host(row, **host)

    def _free_host(self, row: Installation, **values: Any) -> None:
        Host.objects.filter(installations=row, token=self.token).update(
            token="", lease_until=None, **values
        )

    def _snapshot(self, row: Installation) -> NoteSnapshot | None:
        """Returns the client notes and the judgement of the pair on this host; equal ones once."""
        if row.pair is None:
            return None
        if row.pair.pk not in self.facts:
            self.facts[row.pair.pk] = row.pair.facts()
        if (facts := self.facts[row.pair.pk]) is None:
            return None
        missing = missing_names(facts, client_names([row.host] if row.host else []))
        if (row.pair.pk, missing) not in self.snapshots:
            self.snapshots[row.pair.pk, missing] = snapshot_for(facts, host_names=missing)
        return self.snapshots[row.pair.pk, missing]


class _FanOut:
    """Does many installations at once, in one event loop."""

    def __init__(self, entries: queue.SimpleQueue[_Entry], failures_left: int | None) -> None:
        self.entries = entries
        self.failures_left = failures_left
        # With a limit on failures, never more hosts at once than may still fail.
        at_once = AT_ONCE if failures_left is None else min(AT_ONCE, max(1, failures_left))
        self.slots = asyncio.Semaphore(at_once)

    async def do(self, jobs: Sequence[_Job]) -> None:
        for result in await asyncio.gather(*map(self._one, jobs), return_exceptions=True):
            if isinstance(result, BaseException):
                logger.error("A fan-out task ended by itself", exc_info=result)

    async def _one(self, job: _Job) -> None:
        journal = Journal(self.entries, job.row.pk)
        async with self.slots:
            try:
                if _stopping.is_set() or (
                    self.failures_left is not None and self.failures_left < 1
                ):
                    await journal.record("hand_back", None)
                    return
                outcome = await self._install(job, journal)
                if self.failures_left is not None and outcome.status in Installation.BAD:
                    self.failures_left -= 1
                await journal.record("done", outcome)
            except LeaseLost:
                logger.warning("Installation %s was taken over by another worker", job.row.pk)

    async def _install(self, job: _Job, journal: Journal) -> Outcome:
        try:
            return await install(open_transport(job.target), job.order, journal)
        except LeaseLost:
            raise
        except Exception:
            reference = uuid.uuid4().hex[:8]
            logger.exception("Installation %s, reference %s", job.row.pk, reference)
            return Outcome("ERRORED", Message("deploy.errored", {"reference": reference}))


def _files(pair: Pair | None) -> PairFiles:
    if pair is None:
        return PairFiles(None, None)
    return PairFiles(pair.private_key(), pair.certificate_pem)


def _adopt(row: Installation, files: PairFiles) -> Pair | None:
    if files.key is None and files.certificate is None:
        return None
    return Pair.objects.adopt(files.key, files.certificate, found_on=row.host_name)
