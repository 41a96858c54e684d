"""The threads in which a worker does its tasks."""

from __future__ import annotations

from typing import Any

from celery.concurrency import thread

__all__ = ["TaskPool"]


class TaskPool(thread.TaskPool):
    """Celery's pool of threads, which also wakes the worker when one of them has become free.

    A worker with every thread busy listens to nobody (`worker_disable_prefetch`); without this it
    looks whether a thread is free once a second only, and stands still until then.
    """

    _hub: Any = None

    def register_with_event_loop(self, loop: Any) -> None:
        self._hub = loop

    def on_apply(self, *args: Any, **options: Any) -> Any:
        result = super().on_apply(*args, **options)
        result.f.add_done_callback(self._wake)
        return result

    def _wake(self, _: object) -> None:
        if self._hub is not None:  # an embedded worker has none
            self._hub.call_soon(_nothing)


def _nothing() -> None:
    """Each round of the loop looks anew whether the worker can take a message."""
