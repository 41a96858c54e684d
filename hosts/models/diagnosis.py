"""The last diagnosis of each host, kept for the pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from hosts.diagnosis import Facts, findings, gather
from hosts.messages import Message
from hosts.models.host import Host
from hosts.transports import Target, open_transport
from xmailadmin.vault import VaultError

__all__ = ["Diagnosis"]


AT_ONCE = 100  # hosts
LEVELS = ("ok", "info", "warning", "error")


class DiagnosisManager(models.Manager["Diagnosis"]):
    def take(self, hosts: Iterable[Host]) -> list[Diagnosis]:
        """Looks at the hosts, all at once, and returns and keeps what was found on each."""
        rows = list(hosts.select_related("pair") if isinstance(hosts, models.QuerySet) else hosts)
        targets: list[tuple[Host, Target | None]] = []
        for host in rows:
            try:
                targets.append((host, host.target()))
            except VaultError:
                targets.append((host, None))
        facts = asyncio.run(_look_at_all(targets))
        return [self._keep(host, found) for host, found in zip(rows, facts, strict=True)]

    def _keep(self, host: Host, facts: Facts) -> Diagnosis:
        found = findings(facts, timezone.now())
        level = max((finding.level for finding in found), key=LEVELS.index, default="ok")
        state = {"ok": "ok", "info": "ok"}.get(level, level)
        with transaction.atomic():
            Host.objects.filter(pk=host.pk).update(state=state)
            host.state = state
            row, _created = self.update_or_create(
                host=host,
                defaults={
                    "facts": facts.to_json(),
                    "findings": [finding.to_json() for finding in found],
                },
            )
        return row


class Diagnosis(models.Model):
    """What a host held, was configured to do and really served when it was last looked at."""

    host = models.OneToOneField(Host, models.CASCADE, related_name="diagnosis")
    at = models.DateTimeField(_("diagnosed"), auto_now=True)
    facts = models.JSONField(default=dict)  # hosts.diagnosis.Facts.to_json()
    findings = models.JSONField(default=list)  # hosts.diagnosis.Finding.to_json()

    objects = DiagnosisManager()

    class Meta:
        verbose_name = _("diagnosis")
        verbose_name_plural = _("diagnoses")

    def __str__(self) -> str:
        return f"{self.host} {self.at:%Y-%m-%d %H:%M}"


async def _look_at_all(targets: list[tuple[Host, Target | None]]) -> list[Facts]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def look(host: Host, target: Target | None) -> Facts:
        recorded = host.pair.sha256 if host.pair is not None else None
        if target is None:
            return Facts.unreachable(Message("deploy.vault"), host.endpoints, recorded)
        async with slots:
            return await gather(open_transport(target), host.endpoints, host.address, recorded)

    return await asyncio.gather(*(look(host, target) for host, target in targets))
