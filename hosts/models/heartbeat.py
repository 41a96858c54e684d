"""When each part of the portal that runs by itself was last alive."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

__all__ = ["Heartbeat"]

SILENT_AFTER = timedelta(seconds=45)  # of a part that reports every few seconds


class HeartbeatManager(models.Manager["Heartbeat"]):
    def beat(self, part: str) -> None:
        """Notes that `part` is alive now."""
        self.update_or_create(part=part, defaults={"at": Now()})

    def alive(self) -> set[str]:
        """Returns the parts that have reported lately."""
        since = models.ExpressionWrapper(Now() - SILENT_AFTER, output_field=models.DateTimeField())
        return set(self.filter(at__gte=since).values_list("part", flat=True))


class Heartbeat(models.Model):
    """One row a part: "ticker", and "worker" for all workers together. The database's time."""

    part = models.CharField(max_length=20, primary_key=True)
    at = models.DateTimeField()

    objects = HeartbeatManager()

    class Meta:
        verbose_name = _("heartbeat")

    def __str__(self) -> str:
        return f"{self.part} {self.at:%Y-%m-%d %H:%M:%S}"
