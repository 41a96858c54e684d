"""The last diagnosis of each host, kept for the pages."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from django.db import InterfaceError, OperationalError, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from hosts.diagnosis import Facts, findings, gather
from hosts.messages import Message
from hosts.models.host import CONNECTION, Host
from hosts.models.told import ToldField
from hosts.probe import Endpoint
from hosts.transports import Target, open_transport
from xmailadmin.vault import VaultError

__all__ = ["Diagnosis"]

logger = logging.getLogger(__name__)

AT_ONCE = 100  # hosts
LOOK_S = 60.0  # one look with all its steps, of which each has its own limit
LEVELS = ("ok", "info", "warning", "error")


class DiagnosisManager(models.Manager["Diagnosis"]):
    def take(self, hosts: Iterable[Host]) -> list[Diagnosis]:
        """Looks at the hosts, all at once, and returns and keeps what was found on each.

        Not of a host that was deleted, changed in how it is reached, or looked at anew meanwhile.
        What cannot be kept is raised when all the others are.
        """
        rows = list(hosts.select_related("pair") if isinstance(hosts, models.QuerySet) else hosts)
        began = timezone.now()
        facts = asyncio.run(_look_at_all([_Look.at(host) for host in rows]))
        kept: list[Diagnosis] = []
        failure: Exception | None = None
        for host, found in zip(rows, facts, strict=True):
            try:
                if (row := self._keep(host, found, began)) is not None:
                    kept.append(row)
                else:
                    logger.info("What was found on %s is not kept: it is of before a change", host)
            except (OperationalError, InterfaceError):  # the database is away
                raise
            except Exception as error:
                logger.warning("What was found on %s cannot be kept", host, exc_info=True)
                failure = error
        if failure is not None:
            raise failure
        return kept

    def _keep(self, host: Host, facts: Facts, began: datetime) -> Diagnosis | None:
        """Returns the row; None if what was found says nothing of the host as it is now.

        It was deleted, or changed in how it is reached, or a look that began later is kept already.
        """
        found = findings(facts, timezone.now())
        level = max((finding.level for finding in found), key=LEVELS.index, default="ok")
        state = {"ok": "ok", "info": "ok"}.get(level, level)
        reached = {name: getattr(host, name) for name in CONNECTION}
        with transaction.atomic():
            # Which locks the host: nobody else keeps a look at it before this one is through.
            if not Host.objects.filter(pk=host.pk, **reached).update(state=state):
                return None
            known = self.filter(host=host).values_list("pk", "at").first()
            # One of the future was kept before the clock was set back.
            if known is not None and began < known[1] <= timezone.now():
                transaction.set_rollback(True)
                return None
            row = Diagnosis(
                pk=known[0] if known is not None else None,
                host=host,
                at=began,
                standing=_standing(facts),
                facts=facts.to_json(),
                findings=[finding.to_json() for finding in found],
            )
            row.save()
        host.state = state
        return row


class Diagnosis(models.Model):
    """What a host held, was configured to do and really served when it was last looked at."""

    class Standing(models.TextChoices):
        """Whether the services present the pair that the portal has on record for the host."""

        SAME = "same", _("Everything presents the recorded pair")
        DIFFERS = "differs", _("Something differs from the record")
        UNRECORDED = "unrecorded", _("Nothing is recorded")
        UNSEEN = "unseen", _("Nothing could be compared")

    host = models.OneToOneField(Host, models.CASCADE, related_name="diagnosis")
    standing = models.CharField(max_length=10, choices=Standing, default=Standing.UNSEEN)
    # When the look began: what has changed since then may be missing in it.
    at = models.DateTimeField(_("diagnosed"), default=timezone.now)
    facts = ToldField(default=dict)  # hosts.diagnosis.Facts.to_json()
    findings = ToldField(default=list)  # hosts.diagnosis.Finding.to_json()

    objects = DiagnosisManager()

    class Meta:
        # Enough to count by, without reading the rows, whose facts are long.
        indexes = [models.Index(fields=["standing", "host"])]
        verbose_name = _("diagnosis")
        verbose_name_plural = _("diagnoses")

    def __str__(self) -> str:
        return f"{self.host} {self.at:%Y-%m-%d %H:%M}"


def _standing(facts: Facts) -> str:
    """Returns what comparing the record with the disk and the services came to."""
    recorded, disk = facts.recorded_sha256, facts.pair.sha256
    if not recorded:
        return Diagnosis.Standing.UNRECORDED
    served = [result.ok and result.sha256 == recorded for result in facts.on]
    missing = facts.reachable and not disk
    if not all(served) or missing or disk not in {"", recorded}:
        return Diagnosis.Standing.DIFFERS
    return Diagnosis.Standing.SAME if served or disk else Diagnosis.Standing.UNSEEN


@dataclass(frozen=True)
class _Look:
    """What looking at one host takes, so that no row is touched while the sockets are."""

    target: Target | None  # None: its secrets cannot be opened
    endpoints: list[Endpoint]
    address: str
    recorded_sha256: str | None
    key_open: bool

    @classmethod
    def at(cls, host: Host) -> Self:
        try:
            target = host.target()
        except VaultError:
            target = None
        recorded = host.pair.sha256 if host.pair is not None else None
        return cls(target, host.endpoints, host.address, recorded, host.key_open)

    async def facts(self) -> Facts:
        if self.target is None:
            return Facts.unreachable(Message("deploy.vault"), self.endpoints, self.recorded_sha256)
        transport = open_transport(self.target)
        facts = await gather(transport, self.endpoints, self.address, self.recorded_sha256)
        return replace(facts, key_left_open=self.key_open)


async def _look_at_all(looks: list[_Look]) -> list[Facts]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(look: _Look) -> Facts:
        async with slots:
            try:
                async with asyncio.timeout(LOOK_S):
                    return await look.facts()
            except TimeoutError:
                error = Message("registration.too_slow", {"seconds": round(LOOK_S)})
                return Facts.unreachable(error, look.endpoints, look.recorded_sha256)
            except Exception:  # the other hosts' looks shall not be lost with it
                reference = uuid.uuid4().hex[:8]
                logger.exception("A look at a host, reference %s", reference)
                error = Message("deploy.errored", {"reference": reference})
                return Facts.unreachable(error, look.endpoints, look.recorded_sha256)

    return await asyncio.gather(*map(one, looks))
