"""Rows that one worker at a time works on.

A worker claims rows by a conditional UPDATE that writes its token and the time its lease runs out.
It renews the lease while it works, and whatever it writes is conditional on its token: a worker
that slept past its lease finds its token gone and writes nothing. All times are the database's, so
that workers whose clocks differ agree.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

__all__ = ["LEASE", "Leased", "Queued", "free", "lease_end", "new_token", "unrung"]

LEASE = timedelta(seconds=30)


def new_token() -> str:
    """Returns a token that no other worker has."""
    return secrets.token_hex(8)


def lease_end() -> models.Expression:
    """Returns the end of a lease taken or renewed now, as the database's clock has it."""
    return models.ExpressionWrapper(Now() + LEASE, output_field=models.DateTimeField())


def free() -> Q:
    """Returns the condition that nobody holds the row: no lease, or one that has run out."""
    return Q(lease_until=None) | Q(lease_until__lt=Now())


def unrung() -> Q:
    """Returns the condition that no message about the row was sent lately."""
    lately = models.ExpressionWrapper(Now() - LEASE, output_field=models.DateTimeField())
    return Q(rung_at=None) | Q(rung_at__lt=lately)


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
