"""Waiting for a host in the midst of a request: it takes as long as the host pleases."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from django.db import connection

__all__ = ["wait_for"]

T = TypeVar("T")


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Returns what comes of work with a host, with no connection to the database meanwhile."""
    if not connection.in_atomic_block:
        connection.close()  # or those who wait would keep all of them from everybody else
    return asyncio.run(work)
