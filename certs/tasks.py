"""Celery tasks of certs: they load a row and call its method."""

from __future__ import annotations

from celery import shared_task

from certs.models import Pair


@shared_task
def make_pair(pair_id: int) -> None:
    """Makes the queued pair, if nobody else has."""
    if row := Pair.objects.filter(pk=pair_id).first():
        row.make()
