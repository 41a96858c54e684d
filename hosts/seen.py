"""What a person was shown of a host who changes it: a form may stay open for hours."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.utils.crypto import constant_time_compare, salted_hmac

from hosts.models import Host

__all__ = ["digest", "is_still_so"]

SALT = "xmailadmin.host-seen"


def digest(host: Host, fields: Iterable[str]) -> str:
    """Returns a digest of these fields and of the host's connection, for a form to send back.

    It is keyed, for the browser gets it and it covers the secrets as they are sealed.
    """
    held = {name: getattr(host, name) for name in fields} | host.connection()
    # SQLite may hold bytes, too.
    return salted_hmac(SALT, json.dumps(held, default=repr), algorithm="sha256").hexdigest()


def is_still_so(sent: str, host: Host, fields: Iterable[str]) -> bool:
    """True if the host is as it was when a form was given the digest that it sends now."""
    return constant_time_compare(sent, digest(host, fields))
