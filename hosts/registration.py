"""Looks at a host before it is registered, and when an operator looks at it again.

Is it there, is it who it should be, may we log in, is there a MailRoot, what does it hold, and what
do its services present? Nothing on the host is changed, and no secret is sent before a person has
confirmed its identity.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from certs import pair
from hosts import addresses, mailroot
from hosts.addresses import AddressError
from hosts.facts import placed
from hosts.messages import Message, Param
from hosts.probe import Endpoint, EndpointResult, probe
from hosts.proof import unreachable
from hosts.transports import (
    Target,
    Transport,
    TransportError,
    leaf_sha256,
    normal_fingerprint,
    open_transport,
    openssh_fingerprint,
)
from hosts.transports.ssh import parse_jump

__all__ = ["Inspection", "inspect", "shown_identity"]

PATIENCE_S = 60.0  # all steps together; each of them has its own limit


@dataclass
class Inspection:
    """What was found, in the order in which a person wants to read it; `problem` forbids it."""

    found: list[Message] = field(default_factory=list)
    problem: Message | None = None
    #: SHA-256 of the host key or certificate that the host shows, in hexadecimal.
    identity: str = ""
    #: The one thing that is missing is that a person confirms `identity`.
    unconfirmed: bool = False
    #: SHA-256 of the certificate that lies in MailRoot, in hexadecimal.
    certificate: str = ""
    endpoints: list[EndpointResult] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.problem is None


async def inspect(target: Target, endpoints: Iterable[Endpoint] = ()) -> Inspection:
    """Returns what is at the target. It never raises for what a host may answer."""
    result = Inspection()
    looking = asyncio.create_task(_probe_all(target, list(endpoints)))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await _look(open_transport(target), result)
            result.endpoints = await looking
    except TransportError as error:
        result.problem = error.message
        result.identity = normal_fingerprint(str(error.message.params.get("met", "")))
    except TimeoutError:
        result.problem = Message("registration.too_slow", {"seconds": round(PATIENCE_S)})
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    return result


async def _look(transport: Transport, result: Inspection) -> None:
    if transport.target.transport != "local" and not await _is_confirmed(transport, result):
        return
    started = time.perf_counter()
    async with transport:
        if transport.target.transport != "local":
            _say_who(transport, result, _ms_since(started))
        await _look_into(transport, result)


async def _is_confirmed(transport: Transport, result: Inspection) -> bool:
    """False, and the identity met is in the result, if a person has to confirm it first."""
    target = transport.target
    if target.trust_fingerprint:
        return True  # connecting compares it
    started = time.perf_counter()
    try:
        result.identity = await transport.scan()
    except TransportError as error:
        if error.message.code not in {"ctrl.tls_unusable", "ctrl.tls_off"}:
            raise
        # Without a usable pair there is nothing to show. Connecting refuses to go on unless this
        # host is one with which the portal may speak in clear.
        try:
            await transport.connect()
        except TransportError as refused:
            if refused.message.code == "ctrl.no_fingerprint":
                raise error from None
            raise
        finally:
            await transport.close()
        return True
    result.found.append(
        Message(
            _how_reached(target),
            {"address": target.address, "milliseconds": _ms_since(started)},
        )
    )
    if target.transport == "ctrl":
        result.problem = Message("registration.confirm_ctrl")
    else:
        result.problem = Message("registration.confirm_sftp")
    result.unconfirmed = True
    return False


def _how_reached(target: Target) -> str:
    if target.transport != "sftp" or not target.jump:
        return "registration.reached"
    known = parse_jump(target.jump).fingerprint
    return "registration.reached_by_jump" if known else "registration.reached_by_unknown_jump"


def _say_who(transport: Transport, result: Inspection, milliseconds: int) -> None:
    target = transport.target
    result.identity = transport.identity
    if transport.identity:
        shown = shown_identity(target.transport, transport.identity)
        result.found.append(Message("registration.identity", {"fingerprint": shown}))
    else:
        result.found.append(Message("registration.nothing_to_pin"))
    result.found.append(
        Message("registration.login", {"user": target.user, "milliseconds": milliseconds})
    )


async def _look_into(transport: Transport, result: Inspection) -> None:
    target = transport.target
    path: dict[str, Param] = {"path": target.mailroot}
    started = time.perf_counter()
    if await transport.read(mailroot.SERVER_TAB) is None:
        result.problem = (
            Message("registration.no_server_tab", path)
            if transport.by_path
            else Message("registration.no_own_server_tab")
        )
        return
    round_trip = _ms_since(started)
    if target.transport == "local":
        if not _writable(target.mailroot):
            result.problem = Message("registration.read_only", path)
            return
        result.found.append(Message("registration.mailroot", path))
    elif transport.by_path:
        result.found.append(
            Message("registration.remote_mailroot", {**path, "milliseconds": round_trip})
        )
    else:  # XMail knows its MailRoot; what is registered is only for people to read
        result.found.append(Message("registration.own_mailroot", {"milliseconds": round_trip}))
    names = [file.name for file in await transport.list(".", "*.tab")]
    if missing := mailroot.missing_companions(names):
        result.found.append(Message("registration.companions", {"names": ", ".join(missing)}))
    certificate = await transport.read(mailroot.CERTIFICATE)
    key = await transport.read(mailroot.KEY) if transport.confidential else None
    result.certificate = leaf_sha256(certificate)
    result.found.append(_pair(key, certificate))
    if await placed(transport):
        result.found.append(Message("registration.placed"))


def shown_identity(transport: str, sha256: str) -> str:
    """The fingerprint as the tools of the host show it, for a person to compare."""
    if transport == "sftp" and len(sha256) == 64:
        return openssh_fingerprint(sha256)
    return sha256


def _writable(path: str) -> bool:
    """False if this machine already knows that it may not write there."""
    places = [path, os.path.join(path, mailroot.SSLCONF)]
    return all(os.access(place, os.W_OK | os.X_OK) for place in places if os.path.isdir(place))


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


async def _probe_all(target: Target, endpoints: list[Endpoint]) -> list[EndpointResult]:
    """What the services present now; raises TransportError for an address that is refused."""
    if not endpoints:
        return []
    try:
        ip = await addresses.resolve(target.address, target.allowed_networks)
    except AddressError as error:
        if error.permanent:
            raise TransportError(error.message, permanent=True) from None
        return [unreachable(endpoint, error) for endpoint in endpoints]
    return list(await asyncio.gather(*(probe(ip, endpoint) for endpoint in endpoints)))


def _ms_since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
