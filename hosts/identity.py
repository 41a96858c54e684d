"""Who a host is: looking at the key or certificate that it shows now, and trusting it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.db import transaction
from django.http import HttpRequest

from hosts.messages import Message
from hosts.models import Host
from hosts.transports import Target, TransportError, normal_fingerprint, open_transport
from xmailadmin import audit

if TYPE_CHECKING:
    from xmailadmin.models import User

__all__ = ["Meeting", "confirm", "look", "trust"]

#: The host shows another identity than the one that is expected.
CHANGED = frozenset({"ssh.wrong_host_key", "ctrl.wrong_certificate"})


@dataclass(frozen=True)
class Meeting:
    """Whom a look at a host has met (SHA-256), and what went wrong."""

    met: str = ""
    problem: Message | None = None
    trusted: bool = False


async def look(target: Target) -> Meeting:
    """Returns the identity that the host shows now; a secret goes only to the one that is trusted.

    A server may have several keys, of which the trusted one need not be its first.
    """
    if target.trust_fingerprint:
        try:
            async with open_transport(target) as transport:
                if transport.identity:
                    return Meeting(transport.identity)
        except TransportError as error:
            if error.message.code in CHANGED:
                return Meeting(normal_fingerprint(str(error.message.params["met"])))
    try:
        return Meeting(await open_transport(target).scan())
    except TransportError as error:
        return Meeting(problem=error.message)


async def confirm(target: Target, fingerprint: str) -> Meeting:
    """Returns whether the host is the one that was confirmed, and whether one may log in there."""
    try:
        async with open_transport(replace(target, trust_fingerprint=fingerprint)) as transport:
            if transport.identity:
                return Meeting(transport.identity, trusted=True)
    except TransportError as error:
        if error.message.code in CHANGED:
            met = normal_fingerprint(str(error.message.params["met"]))
            return Meeting(met, Message("registration.changed_again"))
        met = (await look(replace(target, trust_fingerprint=""))).met
        return Meeting(met, error.message, trusted=met == fingerprint)
    return Meeting(problem=Message("registration.nothing_to_pin"))


def trust(host: Host, fingerprint: str, *, by: HttpRequest | User | None) -> None:
    """Puts on record whom the portal takes the host for from now on, and whom until now.

    Raises ChangedMeanwhile if it is not the host any more at which the identity was met.
    """
    with transaction.atomic():
        host.lock(host.connection())
        before = host.trust_fingerprint
        host.trust_fingerprint = fingerprint
        host.save(update_fields=["trust_fingerprint"])
        audit.record(by, "host.trust", host, trusted=fingerprint, before=before)
