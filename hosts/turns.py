"""Whose turn it is: which installations may begin, ringing for them, and what is over.

Rows are the truth and a message is only a doorbell (docs/decisions.md): whatever is lost, the
sweep rings again.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from certs.models import Pair
from certs.models.lease import free, lease_now, unrung
from hosts.messages import Message
from hosts.models import Deployment, Host, Installation
from xmailadmin import celery

__all__ = [
    "CHUNK", "Begun", "end_waiting", "final", "leave", "locked", "next_chunk", "ready", "ring",
    "ring_for_looks", "settle", "sweep",
]  # fmt: skip

CHUNK = 50  # hosts a message
SWEEP_CHUNKS = 20  # messages a sweep
Status = Installation.Status


class Begun(Exception):
    """An installation has begun on a host, and has to end with the host as it was."""


def ready() -> QuerySet[Installation]:
    """Returns the installations that a worker may claim now.

    Unfinished and held by nobody; the pair made; nothing older waiting for the same host, so that
    each host gets its deployments in the order they were asked for; the earlier wave done; the
    host not disabled, unless half a pair may be there.
    """
    unfinished = Installation.objects.filter(status__in=Installation.UNFINISHED).order_by()
    # Neither subquery depends on the row: what a row costs must not grow with their number.
    oldest = unfinished.values("host").annotate(oldest=Min("pk")).values("oldest")
    first_wave = unfinished.filter(wave=0).values("deployment")
    return unfinished.filter(
        free(),
        Q(pair=None) | Q(pair__status=Pair.Status.ISSUED),
        Q(wave=0) | ~Q(deployment__in=first_wave),
        Q(adopted=True) | ~Q(host__in=Host.objects.filter(disabled=True)),
        pk__in=oldest,
        host__isnull=False,
    )


def next_chunk() -> QuerySet[Installation] | None:
    """Returns the installations that a worker shall begin next, None if all are done or begun.

    The deployment with the fewest hosts in work has its turn, so that a big one does not make a
    small one wait until it is through.
    """
    waiting = set(ready().values_list("deployment", flat=True).distinct())
    if not waiting:
        return None
    in_work = Installation.objects.filter(~free(), deployment__in=waiting, status=Status.RUNNING)
    busy = dict(in_work.order_by().values_list("deployment").annotate(Count("pk")))
    turn = min(waiting, key=lambda pk: (busy.get(pk, 0), pk))
    chunk = ready().filter(deployment=turn).order_by("pk")
    # Hosts that may be cancelled by a failure elsewhere are begun by one worker alone.
    return chunk if Deployment.objects.get(pk=turn).stop_after else chunk[:CHUNK]


def ring(ids: Sequence[int], deployment: Deployment) -> None:
    """Sends one message per chunk of installations. A broker that is away is no error: the sweep
    rings again when it is back."""
    size = len(ids) or 1 if deployment.stop_after else CHUNK
    for start in range(0, len(ids), size):
        chunk = ids[start : start + size]
        Installation.objects.filter(pk__in=chunk).update(rung_at=lease_now())
        if not celery.ring("hosts.tasks.install_hosts", list(chunk)):
            Installation.objects.filter(pk__in=ids).update(rung_at=None)
            return


def settle(deployments: QuerySet[Deployment]) -> None:
    """Cancels what must not begin any more and marks as finished what has no host left to do."""
    for deployment in deployments.filter(finished_at=None).select_related("pair"):
        # What was begun and handed back may have half a pair on its host: that is finished.
        waiting = deployment.installations.filter(status=Status.QUEUED, adopted=False)
        idle = deployment.installations.filter(
            Q(status=Status.QUEUED) | Q(free(), status=Status.RUNNING)
        )
        idle.filter(host=None).update(**final(Status.CANCELLED, "deploy.host_deleted"))
        disabled = idle.filter(adopted=False, host__in=Host.objects.filter(disabled=True))
        disabled.update(**final(Status.CANCELLED, "deploy.host_disabled"))
        first = deployment.installations.filter(wave=0)
        failures = deployment.installations.filter(status__in=Installation.BAD)
        if deployment.pair is not None and deployment.pair.status == Pair.Status.FAILED:
            waiting.update(**final(Status.FAILED, "deploy.pair_failed"))
        elif first.filter(status__in=Installation.BAD).exists():
            waiting.update(**final(Status.CANCELLED, "deploy.first_failed"))
        elif first.filter(status=Status.CANCELLED).exists():
            waiting.update(**final(Status.CANCELLED, "deploy.first_left_out"))
        elif deployment.stop_after and failures.count() >= deployment.stop_after:
            waiting.update(**final(Status.CANCELLED, "deploy.stopped"))
        if not deployment.installations.filter(status__in=Installation.UNFINISHED).exists():
            Deployment.objects.filter(pk=deployment.pk, finished_at=None).update(
                finished_at=timezone.now(), tally=deployment.counts()
            )


def locked(host: Host) -> Host:
    """Returns the host with its row locked, so that nobody claims or changes it.

    Everybody locks in one order, or two would wait for each other: installations, hosts, what else
    there is, and last the end of the audit. What is asked for between the first two is not locked:
    that takes one_at_a_time. Raises Host.DoesNotExist.
    """
    waited = host.installations.filter(status__in=Installation.UNFINISHED).order_by("pk")
    list(waited.select_for_update().values_list("pk"))
    return Host.objects.select_for_update().get(pk=host.pk)


def leave(host: Host) -> None:
    """Makes sure that nothing is being installed on a host that is about to be another one.

    Raises Begun if it is, or if half a pair may be there. What waits for another place ends when
    its turn comes. The caller has locked the host.
    """
    rows = host.installations.filter(status__in=Installation.UNFINISHED)
    running = rows.filter(status=Status.RUNNING)
    if rows.filter(adopted=True).exists() or running.exclude(free()).exists():
        raise Begun
    # A worker that stood still for longer than its lease finds its token gone if it wakes up.
    running.update(status=Status.QUEUED, token="", lease_until=None, rung_at=None)


def end_waiting(host: Host) -> None:
    """Ends what waits for a host of which a person has changed who may be there: it was asked for
    with another server in mind. The caller has had it left."""
    waiting = host.installations.filter(status=Status.QUEUED)
    deployments = list(waiting.values_list("deployment", flat=True).distinct())
    waiting.update(**final(Status.CANCELLED, "deploy.identity_changed"))
    transaction.on_commit(lambda: settle(Deployment.objects.filter(pk__in=deployments)))


def final(status: Status, code: str) -> dict[str, object]:
    """Returns the fields of an installation that ends without having been begun."""
    return {
        "status": status,
        "message": Message(code).to_json(),
        "finished_at": timezone.now(),
        "token": "",
        "lease_until": None,
    }


def sweep() -> None:
    """Rings for everything that is waiting and that nobody works on or was rung for lately."""
    pairs = Pair.objects.filter(
        free(), unrung(), status__in=(Pair.Status.QUEUED, Pair.Status.ISSUING)
    )
    for pair_id in list(pairs.order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        if not pairs.filter(pk=pair_id).update(rung_at=lease_now()):
            continue  # another sweep was quicker
        if not celery.ring("certs.tasks.make_pair", pair_id):
            Pair.objects.filter(pk=pair_id).update(rung_at=None)
            return
    settle(Deployment.objects.all())
    waiting = ready().filter(unrung()).order_by("deployment_id", "pk")
    by_deployment: dict[int, list[int]] = {}
    with transaction.atomic():  # two sweeps at once ring each for other rows
        locked = waiting.select_for_update(of=("self",), skip_locked=True)
        for deployment_id, row_id in locked.values_list("deployment_id", "pk")[
            : CHUNK * SWEEP_CHUNKS
        ]:
            by_deployment.setdefault(deployment_id, []).append(row_id)
        ids = [row_id for found in by_deployment.values() for row_id in found]
        Installation.objects.filter(pk__in=ids).update(rung_at=lease_now())
    for deployment in Deployment.objects.filter(pk__in=by_deployment):
        ring(by_deployment[deployment.pk], deployment)
    _ring_for_looks_due()


def _ring_for_looks_due() -> None:
    """Rings for a look at the hosts where an installation has ended.

    Not as long as other hosts of the deployment may begin: looking costs as much as installing.
    """
    due = Installation.objects.filter(look_due=True).order_by("deployment_id")
    ended = set(due.values_list("deployment_id", flat=True).distinct())
    waiting = ready().filter(deployment__in=ended).order_by()
    ended -= set(waiting.values_list("deployment_id", flat=True).distinct())
    if not ended:  # as after most chunks: no transaction for that
        return
    with transaction.atomic():  # two sweeps at once ring for different rows
        locked = due.filter(deployment__in=ended).select_for_update(skip_locked=True)
        rows = dict(locked.values_list("pk", "host_id")[: CHUNK * SWEEP_CHUNKS])
        Installation.objects.filter(pk__in=rows).update(look_due=False)
    left = ring_for_looks(sorted({host_id for host_id in rows.values() if host_id is not None}))
    Installation.objects.filter(pk__in=rows, host__in=left).update(look_due=True)


def ring_for_looks(hosts: Sequence[int]) -> Sequence[int]:
    """Sends one message per chunk of hosts to look at; returns those of whom none was told."""
    for start in range(0, len(hosts), CHUNK):
        if not celery.ring("hosts.tasks.diagnose_hosts", list(hosts[start : start + CHUNK])):
            return hosts[start:]
    return []
