"""Deployments as people ask for them: begun, tried again, rolled back, cancelled; rows, each time.

When which row has its turn is in hosts/turns.py, what a worker does then in hosts/ledger.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest

from certs.models import Pair
from hosts.messages import Message
from hosts.models import Deployment, Host, Installation
from hosts.models.host import PLACE, WHO, one_at_a_time
from hosts.order import IN_CLEAR
from hosts.turns import final, leave, locked, ring, settle
from xmailadmin import audit

if TYPE_CHECKING:
    from xmailadmin.models import User

__all__ = [
    "HostGone",
    "NothingToRollBack",
    "Refused",
    "cancel",
    "changed_by",
    "create_deployment",
    "delete",
    "disable",
    "held",
    "left_out",
    "moved",
    "put_right",
    "retry",
    "retryable",
    "rollback_deployment",
    "rollback_host",
    "undoable",
]

logger = logging.getLogger(__name__)

HOSTS_AN_ENTRY = 100  # of the audit
Status = Installation.Status
CHANGED = (Status.INSTALLED, Status.REMOVED)


class Refused(Exception):
    """Nothing was begun; `message` says why and what can be done."""

    def __init__(self, message: Message) -> None:
        super().__init__(str(message))
        self.message = message


class NothingToRollBack(Refused):
    """There is no earlier pair to go back to."""


class HostGone(Refused):
    """A host that was chosen has been deleted, or made somebody else, since."""


def create_deployment(
    pair: Pair,
    hosts: Iterable[Host],
    *,
    by: HttpRequest | User | None,
    place_only: bool = False,
    first: Host | None = None,
    stop_after: int = 0,
) -> Deployment:
    """Returns the new deployment of `pair`, with one queued installation a host.

    It waits by itself for a pair that is still being made. `first` goes alone and must succeed
    before the others begin; after `stop_after` failures (0: never) the rest is cancelled. Raises
    HostGone.
    """
    deployment = Deployment(
        kind=Deployment.Kind.PLACE if place_only else Deployment.Kind.INSTALL,
        pair=pair,
        stop_after=stop_after,
    )
    return _save(deployment, [(host, pair) for host in hosts], by, first)


def rollback_host(host: Host, *, by: HttpRequest | User | None, remove: bool = False) -> Deployment:
    """Returns a new deployment that puts back what `host` held before its last change.

    Raises NothingToRollBack if nothing was changed, if that was at another place than where the
    host is now, if something is under way or waits there, or if there was no pair before and
    `remove` does not ask to take the pair away; HostGone if the host was deleted.
    """
    with transaction.atomic():
        held([host])  # so that of two who ask at once the second one sees what the first has begun
        if host.installations.filter(status__in=Installation.UNFINISHED).exists():
            raise NothingToRollBack(Message("rollback.unfinished", {"host": host.name}))
        undone = undoable(host)
        if undone is None:
            raise NothingToRollBack(Message("rollback.nothing", {"host": host.name}))
        _check(undone, remove)
        deployment = Deployment(kind=Deployment.Kind.ROLLBACK, rolls_back=undone.deployment)
        return _save(deployment, [(host, undone.previous_pair)], by)


def rollback_deployment(
    deployment: Deployment, *, by: HttpRequest | User | None, remove: bool = False
) -> Deployment:
    """Returns a new deployment that undoes `deployment` on every host that it changed last.

    Hosts that something else changed since, or is about to, keep what they have, and so do those
    `left_out`.
    Raises NothingToRollBack if no host is left, HostGone if one was deleted at this moment.
    """
    chosen: list[tuple[Host, Pair | None]] = []
    refusal = Message("rollback.nothing_left", {"deployment": deployment.pk})
    with transaction.atomic():
        rows = changed_by(deployment).select_related("host", "previous_pair").order_by("pk")
        hosts = {row: row.host for row in rows if row.host is not None}
        held([*hosts.values()])
        waiting = Installation.objects.filter(status__in=Installation.UNFINISHED)
        busy = set(waiting.filter(host__in=hosts.values()).values_list("host", flat=True))
        for row, host in hosts.items():
            latest = undoable(host)
            if latest is None or latest.pk != row.pk:
                continue
            try:
                if host.pk in busy:
                    raise NothingToRollBack(Message("rollback.unfinished", {"host": host.name}))
                _check(row, remove)
            except NothingToRollBack as error:
                refusal = error.message
                continue
            chosen.append((host, row.previous_pair))
        if not chosen:
            raise NothingToRollBack(refusal)
        again = Deployment(kind=Deployment.Kind.ROLLBACK, rolls_back=deployment)
        return _save(again, chosen, by)


def changed_by(deployment: Deployment) -> QuerySet[Installation]:
    """Returns the rows of the hosts that a deployment changed, but for those that were deleted."""
    return deployment.installations.filter(status__in=CHANGED, host__isnull=False)


def left_out(deployment: Deployment) -> list[Installation]:
    """Returns the rows that no roll back undoes, since their hosts are at another place by now."""
    place = (f"host__{name}" for name in PLACE)
    rows = changed_by(deployment).select_related("host").order_by("host_name")
    rows = rows.only("host", "host_name", "host_place", "place_digest", *place)
    return [row for row in rows.iterator(chunk_size=500) if row.host_moved]


def moved(row: Installation) -> Message | None:
    """Says why `row` cannot be undone, if its host is at another place by now.

    What a host held at one place is no matter of another place, where somebody else's key may be.
    """
    if not row.host_moved:
        return None
    return Message("rollback.moved", {"host": row.host_name, "place": row.host_place})


def retryable(deployment: Deployment) -> QuerySet[Installation]:
    """Returns the rows of a deployment that failed, or never began, and can be tried again.

    A host on which something else was asked for since is left to that.
    """
    later = Installation.objects.filter(host=OuterRef("host"), pk__gt=OuterRef("pk"))
    return deployment.installations.filter(
        ~Exists(later),
        Q(pair=None) | Q(pair__status=Pair.Status.ISSUED, pair__state="ok"),
        status__in=(*Installation.BAD, Status.CANCELLED),
        host__disabled=False,
    )


def retry(deployment: Deployment, *, by: HttpRequest | User | None) -> Deployment | None:
    """Returns a new deployment that does the rest of this one, as carefully; None: nothing is left.

    The host that was to go first and failed goes first again. Raises HostGone.
    """
    rows = list(retryable(deployment).select_related("host", "pair").order_by("host_name"))
    if deployment.kind == Deployment.Kind.ROLLBACK:
        rows = [row for row in rows if not row.host_moved]
    chosen = [(row.host, row.pair) for row in rows if row.host is not None]
    if not chosen:
        return None
    again = Deployment(
        kind=deployment.kind,
        pair=deployment.pair,
        stop_after=deployment.stop_after,
        rolls_back=deployment.rolls_back,
    )
    return _save(again, chosen, by, next((row.host for row in rows if row.wave == 0), None))


def undoable(host: Host) -> Installation | None:
    """Returns the installation that a roll back of `host` would undo, or None.

    Rolling back again goes one step further back: each earlier roll back has undone one change.
    """
    undone = 0
    # What a roll back was to put back may have been there already: that change is undone, too.
    there = Q(status=Status.UNCHANGED, deployment__kind=Deployment.Kind.ROLLBACK)
    changes = host.installations.filter(there | Q(status__in=CHANGED), puts_right=None)
    changes = changes.select_related("deployment", "previous_pair")
    for row in changes.order_by("-pk").iterator(chunk_size=50):
        if row.deployment.kind == Deployment.Kind.ROLLBACK:
            undone += 1
        elif undone:
            undone -= 1
        else:
            return row
    return None


def put_right(overtaken: Installation) -> Deployment | None:
    """Returns a new deployment of what the host must hold by the history, if that is known.

    A worker that stood still until another one took `overtaken` over may have written to the host
    when it went on: the new deployment takes over from it as from one that was interrupted.
    """
    host = _who_is_there(overtaken)
    rows = Installation.objects.filter(host=host, host__isnull=False)
    rows = rows.exclude(deployment__kind=Deployment.Kind.PLACE).exclude(status=Status.CANCELLED)
    for row in rows.select_related("host__pair", "pair", "previous_pair").order_by("-pk")[:50]:
        if row.status in (*Installation.UNFINISHED, *Installation.GOOD):
            pair = row.pair
        elif row.adopted or row.previous_pair is not None:
            pair = row.previous_pair
        else:
            continue
        assert row.host is not None  # noqa: S101  filtered above
        kept = row.host.installed_at
        if row.finished_at is not None and kept is not None and kept > row.finished_at:
            pair = row.host.pair  # what somebody put there since is on record
        if overtaken.place_digest not in ("", row.host.place_digest):
            logger.error("Two workers met at %s, where %s is no more; look what is there",
                         overtaken.host_place, row.host)  # fmt: skip
            return None
        if row.host.disabled:
            logger.error("Two workers met at %s, which is disabled now; look what is there",
                         row.host)  # fmt: skip
            return None
        logger.warning("What %s holds is put right after two workers met there", row.host)
        kind = Deployment.Kind.ROLLBACK if pair is None else Deployment.Kind.INSTALL
        with transaction.atomic():
            named = Installation.objects.select_for_update(no_key=True).filter(pk=overtaken.pk)
            list(named.values_list("pk"))  # its key would be, out of turn: see `turns.locked`
            again = _save(Deployment(kind=kind, pair=pair), [(row.host, pair)], None)
            # But for a login in clear: this installation has not had its own.
            switches = [
                step
                for step in overtaken.steps
                if step["step"] == "SWITCH" and step["message"]["code"] not in IN_CLEAR
            ]
            again.installations.update(
                adopted=True, previous_pair=overtaken.pair, puts_right=overtaken, steps=switches
            )
        return again
    return None


def _who_is_there(row: Installation) -> Host | None:
    """Returns the host of a row, or, if that was deleted, the one that is registered there now."""
    host = Host.objects.filter(pk=row.host_id or 0).first()
    if host is not None or not row.place_digest:
        return host
    return next(
        (each for each in Host.objects.all() if each.place_digest == row.place_digest), None
    )


def _check(undone: Installation, remove: bool) -> None:
    if refusal := moved(undone):
        raise NothingToRollBack(refusal)
    earlier = undone.previous_pair
    if earlier is None and not remove:
        raise NothingToRollBack(Message("rollback.first", {"host": undone.host_name}))
    if earlier is not None and not earlier.usable:
        raise NothingToRollBack(
            Message("rollback.unusable", {"host": undone.host_name, "pair": earlier.pk})
        )


def _save(
    deployment: Deployment,
    rows: Sequence[tuple[Host, Pair | None]],
    by: HttpRequest | User | None,
    first: Host | None = None,
) -> Deployment:
    user = by.user if isinstance(by, HttpRequest) else by
    with transaction.atomic():
        held([host for host, _pair in rows])
        if user is not None and user.is_authenticated:
            deployment.created_by = user
            deployment.created_by_name = user.get_username()
        else:
            deployment.created_by_name = audit.SYSTEM
        deployment.save()
        Installation.objects.bulk_create(
            [
                Installation(
                    deployment=deployment,
                    host=host,
                    host_name=host.name,
                    host_place=host.place,
                    place_digest=host.place_digest,
                    pair=pair,
                    wave=0 if first is not None and host.pk == first.pk else 1,
                )
                for host, pair in rows
            ],
            batch_size=500,
        )
        audit.record(
            by, f"deployment.{deployment.kind.lower()}", deployment,
            pair=deployment.pair_id, hosts=len(rows),
        )  # fmt: skip
        audit.record_all(
            by,
            "pair.send",
            [
                (pair, {"deployment": deployment.pk, "hosts": places})
                for pair, places in _keys_sent(rows)
            ],
        )
        ids = list(deployment.installations.order_by("pk").values_list("pk", flat=True))
        transaction.on_commit(lambda: ring(ids, deployment))
    return deployment


def held(hosts: Sequence[Host]) -> None:
    """Keeps the hosts from being deleted, or being somebody else than they were when they were
    loaded, until the transaction ends; raises HostGone. (Where they are, each row remembers.)"""
    asked = {(host.pk, *(getattr(host, name) for name in WHO)) for host in hosts}
    rows = Host.objects.select_for_update(no_key=True).filter(pk__in=[pk for pk, *_who in asked])
    if not asked <= set(rows.order_by("pk").values_list("pk", *WHO)):
        raise HostGone(Message("deploy.host_gone"))


def _keys_sent(rows: Sequence[tuple[Host, Pair | None]]) -> list[tuple[Pair, list[str]]]:
    """Returns whose keys go where, some hosts at a time, for the audit."""
    where: dict[Pair, list[str]] = {}
    for host, pair in rows:
        if pair is not None:
            where.setdefault(pair, []).append(f"{host.name} ({host.place})")
    return [
        (pair, places[at : at + HOSTS_AN_ENTRY])
        for pair, places in where.items()
        for at in range(0, len(places), HOSTS_AN_ENTRY)
    ]


def cancel(deployment: Deployment, *, by: HttpRequest | User | None) -> int:
    """Cancels `deployment` on every host that it has not begun, and returns on how many.

    A host that is being worked on is finished, for nobody may leave half a pair there; so is one
    whose worker died in the midst of it.
    """
    with transaction.atomic():
        count = _end_unbegun(deployment.installations.all(), "deploy.cancelled")
        audit.record(by, "deployment.cancel", deployment, hosts=count)
    settle(Deployment.objects.filter(pk=deployment.pk))
    return count


def disable(host: Host, *, by: HttpRequest | User | None) -> None:
    """Takes `host` out of deployments, those included that wait for it; what has begun there is
    finished. Raises Host.DoesNotExist."""
    with one_at_a_time():
        if locked(host).disabled:
            return
        waited = host.installations.filter(status__in=Installation.UNFINISHED)
        deployments = list(waited.values_list("deployment", flat=True))
        _end_unbegun(waited, "deploy.host_disabled")
        host.disabled = True
        host.save(update_fields=["disabled"])
        audit.record(by, "host.disable", host)
    settle(Deployment.objects.filter(pk__in=deployments))


def delete(host: Host, *, by: HttpRequest | User | None) -> None:
    """Removes `host` from the inventory; its history stays.

    Raises Host.DoesNotExist, and Begun: registered anew meanwhile, it would get two pairs at once.
    """
    with one_at_a_time():
        locked(host)
        leave(host)
        Host.objects.filter(pk=host.pk).delete()
        audit.record(by, "host.delete", host, mailroot=host.mailroot)


@transaction.atomic
def enable(host: Host, *, by: HttpRequest | User | None) -> None:
    """Takes `host` into deployments again."""
    if Host.objects.filter(pk=host.pk, disabled=True).update(disabled=False):
        audit.record(by, "host.enable", host)


def _end_unbegun(rows: QuerySet[Installation], code: str) -> int:
    """Cancels those that were not begun, and returns how many; frees the hosts claimed for them."""
    unbegun = rows.filter(adopted=False)
    claimed = unbegun.filter(status=Status.RUNNING, step="")
    tokens = set(claimed.exclude(token="").values_list("token", flat=True))
    count = unbegun.filter(status=Status.QUEUED).update(**final(Status.CANCELLED, code))
    # The worker that has claimed these finds its token gone when it begins, and leaves off.
    count += claimed.update(**final(Status.CANCELLED, code))
    held = Installation.objects.filter(token__in=tokens).values("host")
    idle = Host.objects.filter(token__in=tokens).exclude(pk__in=held)
    idle.update(token="", lease_until=None)
    return count
