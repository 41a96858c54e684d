"""Rows that one worker at a time works on.

A worker claims rows by a conditional UPDATE that writes its token and the time its lease runs out.
It renews the lease while it works, and whatever it writes is conditional on its token: a worker
that slept past its lease finds its token gone and writes nothing.

All times here are of one clock, so that workers whose own clocks differ agree: the database
server's; with SQLite, where everything runs on one machine, the time since that machine started,
which nobody can set.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta

from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Now

__all__ = ["LEASE", "Leased", "Queued", "free", "lease_end", "lease_now", "new_token", "unrung"]

LEASE = timedelta(seconds=30)
LONGEST = 16 * LEASE  # what ends later was written before the clock was set back or started anew


def new_token() -> str:
    """Returns a token that no other worker has."""
    return secrets.token_hex(8)


def lease_now(shift: timedelta = timedelta(0)) -> models.Expression:
    """Returns the present, or a moment that far from it, by the clock of all leases."""
    field = models.DateTimeField()
    if connection.vendor == "sqlite":
        now = datetime.fromtimestamp(time.monotonic(), UTC)
        return models.Value(now + shift, output_field=field)
    return models.ExpressionWrapper(Now() + shift, output_field=field)


def lease_end(times: int = 1) -> models.Expression:
    """Returns the end of a lease taken or renewed now, perhaps a longer one than usual."""
    return lease_now(times * LEASE)


def free() -> Q:
    """Returns the condition that nobody holds the row: no lease, or one that has run out."""
    return (
        Q(lease_until=None) | Q(lease_until__lt=lease_now()) | Q(lease_until__gt=lease_now(LONGEST))
    )


def unrung() -> Q:
    """Returns the condition that no message about the row was sent lately."""
    return Q(rung_at=None) | Q(rung_at__lt=lease_now(-LEASE)) | Q(rung_at__gt=lease_now(LEASE))


class Leased(models.Model):
    """Adds the token and the lease of the worker that holds the row."""

    token = models.CharField(max_length=16, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True


class Queued(Leased):
    """A row that is work: a message rings a worker for it, and how often it was begun is counted.

    `rung_at` keeps the sweep from sending a message that is still on its way again and again.
    """

    rung_at = models.DateTimeField(null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)

    class Meta:
        abstract = True
