"""The Celery application. A task message holds primary keys only, never a key or a password."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery, signals
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, InterfaceError, connections
from kombu import pools
from kombu.exceptions import OperationalError

from xmailadmin.broker import harden
from xmailadmin.checks import FILES
from xmailadmin.descriptors import raise_limit
from xmailadmin.home import HomeError

__all__ = ["app", "ring", "waiting_messages"]

logger = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "xmailadmin.settings")

if Path(sys.argv[0]).name == "celery":  # a worker or the ticker, which would end with a traceback
    try:
        settings.INSTALLED_APPS  # noqa: B018 - reading one reads all
    except HomeError as error:
        sys.exit(f"xmailadmin: {error}")


def _own_settings() -> dict[str, Any]:
    """Celery's settings alone: it shows what it knows, and masks only some of it."""
    prefix = "CELERY_"
    names = [name for name in dir(settings) if name.startswith(prefix)]
    return {name.removeprefix(prefix).lower(): getattr(settings, name) for name in names}


app = Celery("xmailadmin", task_cls="xmailadmin.broker:Rung")
app.add_defaults(_own_settings)
harden()
app.autodiscover_tasks(["certs", "hosts", "xmailadmin"])

# A page that rings waits so long at most for a broker that is away or frozen, and then leaves it
# alone for a moment, so that a broker that hangs does not make every page wait.
PATIENCE = {
    "socket_connect_timeout": 1,
    "socket_timeout": 1,
    "max_retries": 0,
    "interval_start": 0,
}
QUIET_S = 3.0


class _Quiet:
    until = 0.0  # time.monotonic()


_quiet = _Quiet()


def ring(task: str, *arguments: int | list[int]) -> bool:
    """Sends the message for the named task and returns True; False if the broker is away.

    A message is only a doorbell for rows: losing one loses nothing, the sweep rings again.
    """
    if time.monotonic() < _quiet.until:
        return False
    try:
        with _producer() as producer:
            app.signature(task).apply_async(arguments, producer=producer, retry=False)
    except _failures() as error:
        _quiet.until = time.monotonic() + QUIET_S
        logger.warning("The broker takes no message; %s will be rung again: %s", task, error)
        return False
    return True


def waiting_messages(queue_name: str = "") -> int | None:
    """Returns how many messages wait in a queue, or in all; None without an answer in a second."""
    total = 0
    try:
        with _producer() as producer:
            for queue in app.conf.task_queues:
                if queue_name in ("", queue.name):
                    total += producer.channel.queue_declare(queue.name).message_count
    except _failures():
        return None
    return total


def _failures() -> tuple[type[Exception], ...]:
    """What is raised where the broker is away, or has something else by a queue's name."""
    connection: Any = app.connection_for_write()
    return OperationalError, *connection.connection_errors, *connection.channel_errors


def _producer() -> Any:
    connection = app.connection_for_write(transport_options=PATIENCE)
    return pools.producers[connection].acquire(block=True, timeout=2)


@signals.celeryd_init.connect
def _allow_many_sockets(**_: Any) -> None:
    raise_limit()


@signals.celeryd_init.connect
def _check_files(**_: Any) -> None:
    for found in checks.run_checks(tags=[FILES]):
        logger.warning("%s %s", found.msg, found.hint)


@signals.celeryd_init.connect
def _check_master_keys(**_: Any) -> None:
    """Ends a worker that could open no secret, before it fails on every host."""
    from xmailadmin.prepare import check_master_keys  # no models when this module is loaded

    try:
        check_master_keys()
    except HomeError as error:
        sys.exit(f"xmailadmin: {error}")
    except (DatabaseError, InterfaceError) as error:  # away for now; it comes back
        logger.warning("Whether the master key is the right one cannot be told yet: %s", error)
    finally:
        connections.close_all()


@signals.worker_shutting_down.connect
def _hand_over(**_: Any) -> None:
    """Finishes the hosts in hand and hands back the rest when a worker gets SIGTERM."""
    from hosts import ledger  # the models are not there yet when this module is loaded

    ledger.stop()
