"""The Celery application. A task message holds primary keys only, never a key or a password."""

from __future__ import annotations

import logging
import os

from celery import Celery
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "xmailadmin.settings")

app = Celery("xmailadmin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["certs", "hosts"])


def ring(task: str, *arguments: int | list[int]) -> bool:
    """Sends the message for the named task and returns True; False if the broker is away.

    A message is only a doorbell for rows: losing one loses nothing, the sweep rings again.
    """
    try:
        app.signature(task).delay(*arguments)
    except OperationalError as error:
        logger.warning("The broker cannot be reached; %s will be rung again: %s", task, error)
        return False
    return True
