"""Who a host is: looking at the key or certificate that it shows now, and trusting it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.http import HttpRequest

from hosts import turns
from hosts.messages import Message
from hosts.models import Host
from hosts.models.host import one_at_a_time
from hosts.transports import Target, TransportError, open_transport
from xmailadmin import audit

if TYPE_CHECKING:
    from xmailadmin.models import User

__all__ = ["Meeting", "confirm", "log_in", "look", "trust"]


@dataclass(frozen=True)
class Meeting:
    """Whom a look at a host has met (SHA-256), and what went wrong."""

    met: str = ""
    problem: Message | None = None


async def look(target: Target) -> Meeting:
    """Returns the identity that the host shows now, the trusted one if it has that; no secret is
    sent to it."""
    try:
        return Meeting(await open_transport(target).scan())
    except TransportError as error:
        return Meeting(problem=error.message)


async def confirm(target: Target, fingerprint: str) -> Meeting:
    """Returns the same, and as a problem if it is not the one that was confirmed."""
    meeting = await look(replace(target, trust_fingerprint=fingerprint))
    if meeting.problem is not None or meeting.met == fingerprint:
        return meeting
    code = "registration.changed_again" if meeting.met else "registration.nothing_to_pin"
    return Meeting(meeting.met, Message(code))


async def log_in(target: Target) -> Message | None:
    """Returns why one cannot log in at the host, which is trusted and so gets what is stored."""
    try:
        async with open_transport(target):
            return None
    except TransportError as error:
        return error.message


def trust(host: Host, fingerprint: str, *, by: HttpRequest | User | None) -> None:
    """Puts on record whom the portal takes the host for from now on, and whom until now.

    What waits for the host ends. Raises ChangedMeanwhile if it is not the host any more at which
    the identity was met, Host.DoesNotExist if there is none, and turns.Begun if an installation
    has begun on it.
    """
    with one_at_a_time():
        turns.locked(host)
        host.lock(host.connection())
        before = host.trust_fingerprint
        if before == fingerprint:
            return
        turns.leave(host)
        turns.end_waiting(host)
        host.trust_fingerprint = fingerprint
        host.save(update_fields=["trust_fingerprint"])
        audit.record(by, "host.trust", host, trusted=fingerprint, before=before)
