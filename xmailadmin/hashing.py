"""Hashing passwords: a few at once, since each takes a lot of memory, whoever asks for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import connection

__all__ = ["AT_ONCE", "Busy", "LimitedArgon2"]

AT_ONCE = 2  # in one process; 100 MiB each
WAIT_S = 5.0

_turns = threading.BoundedSemaphore(AT_ONCE)


class Busy(Exception):
    """Too many passwords are being looked at; this one was not."""


class LimitedArgon2(Argon2PasswordHasher):
    """Argon2 as Django has it, with hashes and parameters of the same kind.

    Names that nobody has are hashed here as well (Django does so), so they wait as long.
    """

    def encode(self, password: str, salt: str) -> str:
        with _turn():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with _turn():
            return super().verify(password, encoded)


@contextmanager
def _turn() -> Iterator[None]:
    """Waits for one of the few turns. Raises Busy if none becomes free."""
    if not _turns.acquire(blocking=False):
        if not connection.in_atomic_block:
            connection.close()  # or those who wait would keep all of them from everybody else
        if not _turns.acquire(timeout=WAIT_S):
            raise Busy
    try:
        yield
    finally:
        _turns.release()
