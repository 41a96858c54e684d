"""Whether each part that the portal needs is there, for /readyz, for metrics and for people."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from hosts.models import Heartbeat
from xmailadmin import celery, vault
from xmailadmin.rotation import missing_keys

__all__ = ["PARTS", "Health", "clock_difference_s", "look", "trouble"]

PARTS = ("database", "broker", "ticker", "worker", "master_key", "clock")
OK, UNKNOWN = "ok", "unknown"
KEPT_S = 4.0  # for so long one look is good enough, whoever asks
KEYS_KEPT_S = 60.0
CLOCKS_MAY_DIFFER_S = 60
WRITE_S = 2  # longer than any transaction of the portal's own keeps the database

SENTENCES: dict[str, Promise] = {
    "broker": _(
        "The message broker does not answer, so nothing new is begun. Nothing is lost: what waits "
        "goes on by itself when the broker is back."
    ),
    "ticker": _(
        "The ticker has not been heard of lately: what was interrupted is not taken up again, and "
        "hosts are not looked at regularly. Start the ticker."
    ),
    "worker": _(
        "No worker has been heard of lately, so pairs and deployments wait. Start a worker."
    ),
    "master_key": _(
        "The master key is not at hand, so no secret can be opened and nothing can be installed. "
        "Put the key back."
    ),
    "clock": _(
        "The clock of the web server and that of the database differ by more than a minute. "
        "Times that are shown may be wrong; set the clocks."
    ),
}


@dataclass(frozen=True)
class Health:
    """What was found of each part: "ok", "unknown", or one word for what is wrong with it."""

    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return all(state == OK for state in self.parts.values())

    @property
    def sentences(self) -> list[Promise]:
        """What a person should know, the cause before what follows from it."""
        bad = {part for part, state in self.parts.items() if state not in (OK, UNKNOWN)}
        return [sentence for part, sentence in SENTENCES.items() if part in bad]


class _Last:
    """The last look, shared by everybody in this process."""

    lock = threading.Lock()
    health = Health()
    at = float("-inf")
    keys_missing = False
    keys_at = float("-inf")


def look() -> Health:
    """Returns how the parts are, as seen a few seconds ago at most. Never raises."""
    with _Last.lock:
        if time.monotonic() - _Last.at > KEPT_S:
            _Last.health = Health(_parts())
            _Last.at = time.monotonic()
        return _Last.health


def trouble(request: HttpRequest) -> dict[str, object]:
    """Context of every page: what a person should know about the portal itself, if anything.

    A portal in one process has no parts that could be missing while it shows a page.
    """
    if settings.EMBEDDED or not getattr(request, "user", None):
        return {}
    return {"trouble": SimpleLazyObject(lambda: look().sentences)}


def clock_difference_s() -> float:
    """Returns by how much this machine's clock is ahead of the database's."""
    if connection.vendor != "postgresql":
        return 0.0  # the same machine's
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (theirs,) = cursor.fetchone()
    ahead: timedelta = timezone.now() - theirs
    return ahead.total_seconds()


def _parts() -> dict[str, str]:
    parts = dict.fromkeys(PARTS, UNKNOWN)
    parts["master_key"] = _master_key()
    waiting = celery.waiting_messages()
    parts["broker"] = "unreachable" if waiting is None else OK
    try:
        _could_write()
        alive = Heartbeat.objects.alive()
        ahead = clock_difference_s()
        if parts["master_key"] == OK and _another_key_is_needed():
            parts["master_key"] = "missing"
    except (DatabaseError, InterfaceError):
        return parts | {"database": "unreachable"}
    parts["database"] = OK
    parts["clock"] = OK if abs(ahead) < CLOCKS_MAY_DIFFER_S else "differs"
    parts["ticker"] = OK if "ticker" in alive else "silent"
    if waiting is not None or "worker" in alive:
        # Without a broker nobody can tell: a worker reports when a message reaches it.
        parts["worker"] = OK if "worker" in alive else "silent"
    return parts


def _could_write() -> None:
    """Raises OperationalError if somebody has kept SQLite for themselves for WRITE_S."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        (usual_ms,) = cursor.fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {WRITE_S * 1000}")
        try:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {usual_ms}")


def _master_key() -> str:
    try:
        vault.key_ids()
    except vault.VaultError:
        return "missing"
    return OK


def _another_key_is_needed() -> bool:
    """Whether a secret in the database was sealed with a master key that is not at hand.

    It looks at every secret, so once a minute is enough.
    """
    if time.monotonic() - _Last.keys_at > KEYS_KEPT_S:
        try:
            _Last.keys_missing = bool(missing_keys())
        except vault.VaultError:
            _Last.keys_missing = True
        _Last.keys_at = time.monotonic()
    return _Last.keys_missing
