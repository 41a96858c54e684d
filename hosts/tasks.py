"""Celery tasks of hosts: they load rows and call the domain. Messages hold primary keys only."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task, signals
from django.db import DatabaseError, close_old_connections

from hosts import ledger, turns
from hosts.models import Diagnosis, Heartbeat, Host
from xmailadmin import celery

logger = logging.getLogger(__name__)


@shared_task
def install_hosts(installation_ids: list[int]) -> None:
    """Does the chunk whose turn it is, then rings for whatever waited for it and for the next."""
    done = ledger.run_next(installation_ids)
    turns.sweep()
    if done and turns.ready().exists():
        celery.ring("hosts.tasks.install_hosts", [])


@shared_task
def sweep() -> None:
    """Rings again for what is waiting, and shows that a worker lives."""
    turns.sweep()
    Heartbeat.objects.beat("worker")


@shared_task
def diagnose_hosts(host_ids: list[int]) -> None:
    """Looks at the hosts and keeps what was found."""
    Diagnosis.objects.take(Host.objects.filter(pk__in=host_ids))


@shared_task
def diagnose_all() -> None:
    """Rings for a diagnosis of every host that is not disabled."""
    turns.ring_for_looks(list(Host.objects.filter(disabled=False).values_list("pk", flat=True)))


@signals.worker_ready.connect
def _say_that_a_worker_lives(**_: Any) -> None:
    """Or a portal that has just begun would be called not ready until the first sweep."""
    try:
        Heartbeat.objects.beat("worker")
    except DatabaseError as error:
        logger.warning("The worker cannot say that it lives: %s", error)
    finally:
        close_old_connections()
