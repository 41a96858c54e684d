"""What is changed of the library that talks to Redis, so that no message there ends a worker."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from celery.worker import strategy
from kombu import compression
from kombu.transport import redis, virtual

__all__ = ["Rung", "harden"]

logger = logging.getLogger(__name__)
_library: Any = redis
_compression: Any = compression
_brpop_read = _library.Channel._brpop_read
_loads = _library.loads
LONGEST = 1024 * 1024  # of a message; the portal's own have a few kilobytes
LEFT_OUT = "A message in the broker cannot be read, and is left out"


class Rung(Task):  # type: ignore[type-arg]
    """A task that is begun when its message comes."""

    Strategy = "xmailadmin.broker:begun_at_once"


def begun_at_once(*about: Any, **options: Any) -> Any:
    """Celery's way with a message, but that it keeps none for later.

    The portal sends none of that kind, and a worker would hold any number, until any year.
    """
    begin = strategy.default(*about, **options)

    def handle(message: Any, body: Any, *answers: Any, **more: Any) -> Any:
        for part in (message.headers, body):
            if isinstance(part, dict):
                part.pop("eta", None)
        return begin(message, body, *answers, **more)

    return handle


def harden() -> None:
    """Has every connection to Redis go on where the library would end its worker."""
    # Messages that no worker has begun need not be put back when the connection breaks: it would be
    # done over the very connection that is broken. The sweep rings again.
    _library.QoS.restore_at_shutdown = False
    # Nor when another worker was lost with them; what is kept of them there may be anything.
    _library.QoS.restore_visible = _put_nothing_back
    _library.Channel._brpop_read = _read
    _library.Transport._deliver = _deliver
    # Nor does a message take more memory than it is long: the portal compresses none, and what
    # could be unpacked from a few bytes has no end.
    _compression._decoders.clear()
    _library.loads = _parse


def _put_nothing_back(*_: Any, **__: Any) -> None:
    pass


def _parse(text: str) -> Any:
    if len(text) > LONGEST:
        raise ValueError(f"it is {len(text)} characters long")
    return _loads(text)


def _read(self: Any, **options: Any) -> Any:
    try:
        return _brpop_read(self, **options)
    except (ValueError, RecursionError):  # it is no JSON, or too long
        logger.exception(LEFT_OUT)
        return True  # there was something


def _deliver(self: Any, message: Any, queue: str) -> None:
    held = {channel: set(channel.qos._delivered) for channel in self.channels if channel}
    try:
        virtual.Transport._deliver(self, message, queue)
    except self.connection_errors:
        raise
    except Exception:  # what it lacks, or has in it, shows anywhere in the library
        logger.exception(LEFT_OUT)
        for channel, tags in held.items():
            for tag in set(channel.qos._delivered) - tags:
                channel.basic_reject(tag)  # or a worker that may hold four takes no more
