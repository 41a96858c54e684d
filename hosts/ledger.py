"""Claims installations, has a fan-out of coroutines do them, and records each as it comes.

What the coroutines of hosts/fan_out.py hand over, the thread that called `run` writes: a batch in
one transaction, answered only after the commit. Every write is conditional on the claim's token:
when another worker has taken the row over, the coroutine is told so by LeaseLost and leaves the
host alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from django.db import (
    InterfaceError,
    OperationalError,
    close_old_connections,
    connection,
    transaction,
)
from django.db.models import F, QuerySet
from django.utils import timezone

from certs.clients import missing_names
from certs.facts import CertificateFacts
from certs.models import NoteSnapshot, Pair
from certs.models.lease import LEASE, free, lease_end, new_token
from certs.note_snapshots import snapshot_for
from hosts import deploy, turns
from hosts.aftermath import host_values
from hosts.client_names import client_names
from hosts.fan_out import Entry, FanOut, stop, stopping, tell
from hosts.install import LeaseLost, Outcome, PairFiles
from hosts.jobs import Opened, job
from hosts.ledger_writes import Writes
from hosts.messages import Message
from hosts.models import Deployment, Diagnosis, Host, Installation
from xmailadmin.vault import VaultError

__all__ = ["run", "run_next", "stop", "work"]

logger = logging.getLogger(__name__)

BEGUN_HERE = 1000  # hosts that a command claims at once
MOST_ATTEMPTS = 5  # an installation that killed its worker this often is given up
MOST_REFUSALS = 3  # nor is a host that refuses us asked again and again
GATHER_S = 0.005  # of what other hosts have to tell at the same time: one commit for all of it
HAND_OVER_S = 20.0  # what a host that is being worked on may still take when the portal stops
Status = Installation.Status
#: Threads of one process take turns: SQLite has whoever comes second sleep, longer every time.
_one_writer = threading.Lock()


def run(ids: Iterable[int]) -> list[Installation]:
    """Does the installations among `ids` that are ready and free, and returns them."""
    return _do(turns.ready().filter(pk__in=list(ids)))


def run_next(ids: Sequence[int] = ()) -> list[Installation]:
    """Does the chunk whose turn it is, and returns it: a message about `ids` only rings for work.

    Whichever of `ids` has to wait for its host may be rung for again as soon as it can begin.
    """
    rows: list[Installation] = []
    if not stopping.is_set() and (chunk := turns.next_chunk()) is not None:
        rows = _do(chunk)
    if ids:
        queued = Installation.objects.filter(pk__in=list(ids), status=Status.QUEUED)
        queued.exclude(pk__in=turns.ready()).update(rung_at=None)
    return rows


def _do(wanted: QuerySet[Installation]) -> list[Installation]:
    token, rows = _claim(wanted)
    if rows:
        for _finished in _Run(token, rows).go():
            pass
        turns.settle(Deployment.objects.filter(pk__in={row.deployment_id for row in rows}))
    return rows


def work(deployment: Deployment) -> Iterable[Installation]:
    """Does a deployment in this process and yields each installation as it is finished.

    What another process does of it, or what waits for another deployment, is waited for. The
    hosts are diagnosed at the end.
    """
    seen: set[int] = set()
    done_here: set[int] = set()
    rows = deployment.installations.select_related("pair", "previous_pair").order_by("pk")
    finished = rows.exclude(status__in=Installation.UNFINISHED)
    while True:
        wanted = turns.ready().filter(deployment=deployment).order_by("pk")
        token, claimed = _claim(wanted[:BEGUN_HERE])
        for news in _Run(token, claimed).go() if claimed else ():
            for row in finished.filter(pk__in=news):
                seen.add(row.pk)
                yield row
        done_here.update(row.host_id for row in claimed if row.host_id is not None)
        turns.settle(Deployment.objects.filter(pk=deployment.pk))
        for row in finished.exclude(pk__in=seen):
            seen.add(row.pk)
            yield row
        deployment.refresh_from_db()
        if deployment.finished:
            deployment.installations.filter(host__in=done_here).update(look_due=False)
            Diagnosis.objects.take(Host.objects.filter(pk__in=done_here))
            return
        if not claimed:
            time.sleep(0.2)


def _claim(wanted: QuerySet[Installation]) -> tuple[str, list[Installation]]:
    """Takes installations and their hosts by conditional UPDATEs; whoever loses gets no rows.

    Rows that another worker is claiming at this moment are passed over, not waited for.
    """
    token = new_token()
    with _one_writer, transaction.atomic():
        seen = dict(
            wanted.select_for_update(of=("self",), skip_locked=True).values_list("pk", "host_id")
        )
        hosts = Host.objects.select_for_update(skip_locked=True)
        free_hosts = list(
            hosts.filter(free(), pk__in=seen.values()).order_by("pk").values_list("pk", flat=True)
        )
        Host.objects.filter(free(), pk__in=free_hosts).update(token=token, lease_until=lease_end())
        turns.ready().filter(pk__in=seen, host__token=token).update(
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
    return token, rows


class _Run:
    """One claimed chunk: builds the jobs, starts the fan-out and records what it reports."""

    def __init__(self, token: str, rows: Sequence[Installation]) -> None:
        self.token = token
        self.rows = {row.pk: row for row in rows}
        self.writes = Writes(token)
        self.adopted: dict[PairFiles, Pair | None] = {}
        self.entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()  # None: that was all
        self.done = False
        self.facts: dict[int, CertificateFacts | None] = {}
        self.snapshots: dict[tuple[int, tuple[str, ...]], NoteSnapshot] = {}

    def go(self) -> Iterator[list[int]]:
        """Does the work, and yields the rows that are finished as soon as they are on record."""
        jobs, opened = [], Opened()
        for row in self.rows.values():
            try:
                if (refusal := _refusal(row)) is not None:
                    outcome = refusal
                else:
                    jobs.append(job(row, self.token, opened))
                    continue
            except VaultError as error:
                logger.error("Installation %s: %s", row.pk, error)
                outcome = Outcome("FAILED", Message("deploy.vault"))
            self.entries.put(Entry(row.pk, "done", outcome))
        fan_out = FanOut(self.entries, self._failures_left(len(self.rows) - len(jobs)))
        context = contextvars.copy_context()  # what the log says of the task

        def do() -> None:
            try:
                context.run(asyncio.run, fan_out.do(jobs))
            finally:
                self.entries.put(None)

        threading.Thread(target=do, name=f"fan-out-{self.token}", daemon=True).start()
        yield from self._record_until_done()

    def _failures_left(self, failed_here: int) -> int | None:
        """Returns after how many more failures no further host may begin; None: never.

        `failed_here` are those of this chunk that failed before they began: not on record yet.
        """
        deployment = next(iter(self.rows.values())).deployment
        if not deployment.stop_after:
            return None
        return (
            deployment.stop_after
            - deployment.installations.filter(status__in=Installation.BAD).count()
            - failed_here
        )

    def _record_until_done(self) -> Iterator[list[int]]:
        renew_every_s = LEASE.total_seconds() / 4
        renewed = time.monotonic()
        stopped_at = None
        while not self.done:
            batch = self._next_batch()
            now = time.monotonic()
            overtaken = [each for each in batch if each.what == "overtaken"]
            batch = [each for each in batch if each.what != "overtaken"]
            if batch or now - renewed > renew_every_s:
                self._record_persistently(batch, renew=now - renewed > renew_every_s)
                if now - renewed > renew_every_s:
                    renewed = now
            for entry in overtaken:
                self._record_persistently([entry], renew=False)
            if batch:
                done = [each for each in batch if each.what == "done" and each.error is None]
                if done:
                    yield [each.row_id for each in done]
            if stopping.is_set():
                stopped_at = stopped_at or now
                if now - stopped_at > HAND_OVER_S:
                    return  # the lease runs out and whoever comes next resumes

    def _next_batch(self) -> list[Entry]:
        batch: list[Entry] = []
        try:
            entry = self.entries.get(timeout=0.25)
            if len(self.rows) > 1:
                time.sleep(GATHER_S)
            while entry is not None:
                batch.append(entry)
                entry = self.entries.get_nowait()
        except queue.Empty:
            return batch
        self.done = True
        return batch

    def _record_persistently(self, batch: list[Entry], *, renew: bool) -> None:
        """Records the batch, waiting for a database that is away for as long as the lease lasts."""
        give_up = time.monotonic() + LEASE.total_seconds()
        while True:
            try:
                self._record_batch(batch, renew=renew)
            except (OperationalError, InterfaceError) as error:
                logger.warning("The database cannot be written: %s", error)
                self._forget_the_unwritten(batch)
                close_old_connections()
                if time.monotonic() > give_up:
                    for entry in batch:
                        entry.error = LeaseLost()
                    break
                time.sleep(1)
            except Exception as error:
                self._forget_the_unwritten(batch)
                if len(batch) > 1:  # what is wrong with one of them must not cost the others
                    for entry in batch:
                        self._record_persistently([entry], renew=False)
                    return
                logger.exception("Installation %s cannot be recorded", batch[0].row_id)
                batch[0].error = error
                break
            else:
                break
        tell(batch)

    def _record_batch(self, batch: list[Entry], *, renew: bool) -> None:
        if batch and batch[0].what == "overtaken":  # which rings, and so is no matter of the lock
            deploy.put_right(self.rows[batch[0].row_id])
            return
        with _one_writer, transaction.atomic():
            if renew:
                self._renew()
            ours = Installation.objects.filter(pk__in={each.row_id for each in batch})
            ours = ours.filter(token=self.token).select_for_update().order_by("pk")
            held = set(ours.values_list("pk", flat=True))
            self._lock_hosts(batch)
            for entry in batch:
                entry.error = None
                if entry.row_id in held:
                    self._record(entry)
                else:
                    entry.error = LeaseLost()
            self.writes.flush()

    def _forget_the_unwritten(self, batch: list[Entry]) -> None:
        """Drops what a transaction that was rolled back has made."""
        self.writes = Writes(self.token)
        self.adopted.clear()
        self.snapshots.clear()
        for entry in batch:
            if entry.step is not None:
                self.rows[entry.row_id].steps.remove(entry.step)
                entry.step = None

    def _renew(self) -> None:
        for model in (Installation, Host):  # in the order in which `deploy.cancel` locks them
            model._default_manager.filter(token=self.token).update(lease_until=lease_end())

    def _lock_hosts(self, batch: list[Entry]) -> None:
        """Locks the hosts that the batch changes, before the audit that it may write to."""
        told = [self.rows[each.row_id].host_id for each in batch if each.what != "step"]
        if told and connection.features.has_select_for_update:
            hosts = Host.objects.filter(pk__in=[pk for pk in told if pk is not None])
            list(hosts.select_for_update(no_key=True).order_by("pk").values_list("pk"))

    def _record(self, entry: Entry) -> None:
        row = self.rows[entry.row_id]
        if entry.what == "step":
            step, message = entry.value
            now = timezone.now().isoformat()
            entry.step = {"step": step, "at": now, "message": message.to_json()}
            row.steps.append(entry.step)
            self.writes.installation(row.pk, step=step, steps=row.steps)
        elif entry.what == "adopt":
            row.previous_pair, row.adopted = self._adopt(row, entry.value), True
            self.writes.installation(row.pk, previous_pair=row.previous_pair, adopted=True)
        elif entry.what == "hand_back":
            free_again = {"token": "", "lease_until": None}
            self.writes.installation(row.pk, status=Status.QUEUED, rung_at=None, **free_again)
            self.writes.host(row.host_id, **free_again)
        else:
            self._finish(row, entry.value)

    def _finish(self, row: Installation, outcome: Outcome) -> None:
        now = timezone.now()
        notes = [note.to_json() for note in outcome.notes]
        if outcome.status in Installation.BAD:  # what an earlier try met may be what is wrong
            notes = [note for note in row.notes if note not in notes] + notes
        if outcome.unsettled and row.attempts < self._attempts(outcome):
            # The host may hold a mixture: whoever reaches it next must make it whole. A lease of
            # nobody is the pause before that, each one twice as long as the one before.
            self.writes.installation(row.pk, message=outcome.message.to_json(), notes=notes)
            self.writes.flush()
            pause = {"token": "", "lease_until": lease_end(2 ** (row.attempts - 1))}
            Installation.objects.filter(pk=row.pk, token=self.token).update(**pause)
            Host.objects.filter(pk=row.host_id or 0, token=self.token).update(**pause)
            return
        if outcome.previous is not None and not row.adopted:
            row.previous_pair = self._adopt(row, outcome.previous)
        self.writes.installation(
            row.pk,
            status=outcome.status,
            step="",
            message=outcome.message.to_json(),
            notes=notes,
            endpoints=[result.to_json() for result in outcome.endpoints],
            previous_pair=row.previous_pair,
            client_notes=self._snapshot(row),
            finished_at=now,
            look_due=row.host_id is not None,
            token="",
            lease_until=None,
        )
        values = host_values(row, outcome, now)
        self.writes.host(row.host_id, token="", lease_until=None, **values)

    def _attempts(self, outcome: Outcome) -> int:
        return MOST_REFUSALS if outcome.permanent else MOST_ATTEMPTS

    def _adopt(self, row: Installation, files: PairFiles) -> Pair | None:
        """Returns the record of what a host holds; most hosts of a chunk hold the same."""
        if files not in self.adopted:
            self.adopted[files] = _adopt(row, files)
        return self.adopted[files]

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


def _refusal(row: Installation) -> Outcome | None:
    """Says why a row that was claimed is not begun, if it is not."""
    if row.attempts > MOST_ATTEMPTS:
        return Outcome("ERRORED", Message("deploy.attempts"))
    if row.host_moved:  # a key goes to the place that was asked for, which is on record, or nowhere
        code = "deploy.host_moved_midway" if row.adopted else "deploy.host_moved"
        return Outcome("FAILED", Message(code, {"place": row.host_place}))
    return None


def _adopt(row: Installation, files: PairFiles) -> Pair | None:
    if files.key is None and files.certificate is None:
        return None
    return Pair.objects.adopt(files.key, files.certificate, found_on=row.host_name)
