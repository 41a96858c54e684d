"""Looks at a MailRoot before it is registered: is it one, can it be written, what does it hold."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from certs import pair
from hosts.messages import Message
from hosts.transports import Target, TransportError, open_transport

__all__ = ["Inspection", "inspect"]

# docs/xmail.md: server.tab makes a directory a MailRoot; the others are normally beside it.
COMPANIONS = ("ctrlaccounts.tab", "domains.tab", "mailusers.tab")


@dataclass
class Inspection:
    """What was found, in the order in which a person wants to read it; `problem` forbids it."""

    found: list[Message] = field(default_factory=list)
    problem: Message | None = None

    @property
    def good(self) -> bool:
        return self.problem is None


async def inspect(target: Target) -> Inspection:
    """Returns what is at the target's MailRoot. Nothing there is changed; it never raises for
    what a host may answer."""
    result = Inspection()
    try:
        async with open_transport(target) as transport:
            if await transport.read("server.tab") is None:
                result.problem = Message("registration.no_server_tab", {"path": target.mailroot})
                return result
            if not _writable(target):
                result.problem = Message("registration.read_only", {"path": target.mailroot})
                return result
            result.found.append(Message("registration.mailroot", {"path": target.mailroot}))
            names = {file.name for file in await transport.list(".", "*.tab")}
            if missing := [name for name in COMPANIONS if name not in names]:
                result.found.append(
                    Message("registration.companions", {"names": ", ".join(missing)})
                )
            certificate = await transport.read("server.cert")
            key = await transport.read("server.key") if transport.confidential else None
            result.found.append(_pair(key, certificate))
            if await transport.read("sslconf/server.cert") is not None:
                result.found.append(Message("registration.placed"))
    except TransportError as error:
        result.problem = error.message
    return result


def _writable(target: Target) -> bool:
    """False if this machine already knows that it may not write there."""
    if target.transport != "local":
        return True
    places = [target.mailroot, os.path.join(target.mailroot, "sslconf")]
    return all(os.access(path, os.W_OK | os.X_OK) for path in places if os.path.isdir(path))


def _pair(key: bytes | None, certificate: bytes | None) -> Message:
    state = pair.check(key, certificate)
    if state.code == "none":
        return Message("registration.no_pair")
    if state.code == "ok" and certificate is not None and state.not_after is not None:
        facts = pair.facts(certificate)
        return Message(
            "registration.pair",
            {"name": facts.common_name, "until": f"{state.not_after:%Y-%m-%d}"},
        )
    return Message("registration.broken_pair", {"state": state.code})
