"""The cache in the database, with values as JSON.

Django's own unpickles what it finds, and whoever can write to that one table would have the portal
run what he put there. Its table and statements are kept; only how a value is written is another.
"""

from __future__ import annotations

import json
from typing import Any

from django.core.cache.backends import db

__all__ = ["DatabaseCache"]


class _JSON:
    """Stands where Django's module has pickle."""

    HIGHEST_PROTOCOL = 0

    @staticmethod
    def dumps(value: Any, _protocol: int) -> bytes:
        return json.dumps(value).encode()

    @staticmethod
    def loads(data: bytes) -> Any:
        """Returns the value; an empty one for what is no JSON, as from before an upgrade."""
        try:
            return json.loads(data)
        except ValueError:
            return []


class DatabaseCache(db.DatabaseCache):
    """Django's, for values that JSON can hold: lists, words and numbers."""


db.pickle = _JSON  # type: ignore[attr-defined]
