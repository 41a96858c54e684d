"""A worker whose threads were all busy listens again as soon as one is free."""

from __future__ import annotations

import threading

import pytest
from kombu.asynchronous import Hub

from xmailadmin import thread_pool


def test_the_worker_is_woken_when_a_thread_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    woken = threading.Event()
    monkeypatch.setattr(thread_pool, "_nothing", woken.set)
    hub, pool = Hub(), thread_pool.TaskPool(1)
    pool.register_with_event_loop(hub)
    pool.on_apply(lambda: None, (), {})
    pool.on_stop()  # waits for what is under way
    hub.run_once()
    hub.close()
    assert woken.is_set()
