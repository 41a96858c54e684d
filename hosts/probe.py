"""What an endpoint really serves: one protocol dialogue up to a completed TLS handshake.

Only a completed handshake proves anything (docs/xmail.md): an XMail whose pair is unusable still
offers STARTTLS, says that it is ready, and only then drops the connection. The certificate is not
verified but reported, to be compared by its fingerprint.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from cryptography import x509

from certs.certificate_text import MALFORMED, validity
from hosts.addresses import look_up
from hosts.messages import Message, system_reason
from hosts.probe_dialogue import Channel, Failure, broken_at_once, talk
from hosts.wire import accepting_any

DEFAULT_PORTS: Mapping[str, int] = {
    "smtp": 25,
    "submission": 0,  # 587 where a team uses it
    "smtps": 465,
    "pop3": 110,
    "pop3s": 995,
    "ctrls": 6018,
}
ENDPOINT_NAMES = tuple(DEFAULT_PORTS)
TIMEOUT_S = 8.0
# Of a certificate that anybody may have made up: they are kept with each look.
LONGEST_SUBJECT, NAMES_KEPT = 500, 200


@dataclass(frozen=True)
class Endpoint:
    """A TLS service of a host; port 0 means that it is switched off here."""

    name: str
    port: int


def label(name: str, port: int) -> str:
    """An endpoint as messages call it: "SMTP 25"."""
    return f"{name.upper()} {port}"


@dataclass(frozen=True)
class EndpointResult:
    """What one probe met.

    `ok` says that a TLS handshake was completed with an XMail; `stage` is where it ended: connect,
    banner, command, handshake or done. `sha256` is the fingerprint of the leaf served, also where
    the endpoint failed after it had shown it.
    """

    name: str
    port: int
    ok: bool
    stage: str
    message: Message
    sha256: str = ""
    chain: tuple[bytes, ...] = field(default=(), repr=False)  # DER, leaf first
    subject: str = ""
    names: tuple[str, ...] = ()
    not_after: str = ""
    tls_version: str = ""
    cipher: str = ""
    xmail_version: str = ""
    elapsed_ms: int = 0

    @property
    def reachable(self) -> bool:
        """Whether something accepted the connection."""
        return self.stage != "connect"

    def to_json(self) -> dict[str, Any]:
        """A JSON object for the history, without the certificates themselves."""
        return {
            "name": self.name,
            "port": self.port,
            "ok": self.ok,
            "stage": self.stage,
            "message": self.message.to_json(),
            "sha256": self.sha256,
            "subject": self.subject,
            "names": list(self.names),
            "not_after": self.not_after,
            "tls_version": self.tls_version,
            "cipher": self.cipher,
            "xmail_version": self.xmail_version,
            "elapsed_ms": self.elapsed_ms,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> EndpointResult:
        """What `to_json` wrote; the chain is empty."""
        values = dict(raw)
        values["message"] = Message.from_json(values["message"])
        values["names"] = tuple(values["names"])
        return cls(**values)


async def probe_all(
    address: str,
    endpoints: Iterable[Endpoint],
    timeout_s: float = TIMEOUT_S,
    server_name: str | None = None,
) -> list[EndpointResult]:
    """Probes every endpoint at once; the results come in the order given. Never raises."""
    probes = (probe(address, endpoint, timeout_s, server_name) for endpoint in endpoints)
    return await asyncio.gather(*probes)


async def probe(
    address: str,
    endpoint: Endpoint,
    timeout_s: float = TIMEOUT_S,
    server_name: str | None = None,
) -> EndpointResult:
    """Talks to one endpoint; never raises.

    Each step has `timeout_s`, and all of them together twice that. `address` should be the address
    that was checked, so that no name is resolved again here. The message names the endpoint.
    """
    started = time.perf_counter()
    channel = Channel(timeout_s)
    try:
        if endpoint.port == 0:
            raise Failure("connect", Message("probe.off"))
        await _connect(channel, address, endpoint)
        message = await talk(channel, endpoint.name, accepting_any(), server_name)
        ok, stage = True, "done"
    except Failure as failure:
        ok, stage, message = False, failure.stage, failure.message
    finally:
        channel.close()
    return EndpointResult(
        name=endpoint.name,
        port=endpoint.port,
        ok=ok,
        stage=stage,
        message=Message(
            message.code, {"endpoint": label(endpoint.name, endpoint.port), **message.params}
        ),
        elapsed_ms=round((time.perf_counter() - started) * 1000),
        xmail_version=channel.xmail_version,
        **_served(channel),
    )


async def _connect(channel: Channel, address: str, endpoint: Endpoint) -> None:
    where: dict[str, str | int] = {"address": address, "port": endpoint.port}
    try:
        async with channel.step():
            candidates = await _resolve(address, endpoint.port)
            for number, (family, sockaddr) in enumerate(candidates, start=1):
                try:
                    await channel.connect(family, sockaddr)
                    return
                except OSError:
                    if number == len(candidates):
                        raise
    except TimeoutError:
        raise Failure("connect", Message("probe.no_answer", where)) from None
    except ConnectionRefusedError:
        raise Failure("connect", Message("probe.refused", where)) from None
    except ConnectionResetError:
        raise broken_at_once(endpoint.name) from None  # accepted, and dropped in the same moment
    except (socket.gaierror, UnicodeError):
        raise Failure("connect", Message("probe.unresolved", {"address": address})) from None
    except (OSError, ValueError, OverflowError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise Failure(
            "connect", Message("probe.unreachable", {**where, "reason": reason})
        ) from None


async def _resolve(address: str, port: int) -> Sequence[tuple[int, tuple[Any, ...]]]:
    try:
        found = [ip_address(address)]
    except ValueError:
        found = [ip_address(each) for each in await look_up(address)]
    return [
        (socket.AF_INET if ip.version == 4 else socket.AF_INET6, (str(ip), port)) for ip in found
    ]


def _served(channel: Channel) -> dict[str, Any]:
    """The fields of a result that come from the handshake, if there was one."""
    if not channel.chain:
        return {}
    return {
        "sha256": fingerprint(channel.chain[0]),
        "chain": channel.chain,
        "tls_version": channel.tls_version,
        "cipher": channel.cipher,
        **_described(channel.chain[0]),
    }


def fingerprint(der: bytes) -> str:
    """SHA-256 as lower-case hexadecimal, without colons."""
    return hashlib.sha256(der).hexdigest()


@functools.lru_cache(maxsize=100)  # one pair is served by many endpoints
def _described(der: bytes) -> Mapping[str, Any]:
    try:
        leaf = x509.load_der_x509_certificate(der)
        return {
            "subject": leaf.subject.rfc4514_string()[:LONGEST_SUBJECT],
            "names": _names(leaf)[:NAMES_KEPT],
            "not_after": validity(leaf)[1].isoformat(),
        }
    except MALFORMED:
        return {}


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (*MALFORMED, x509.ExtensionNotFound):
        return ()
    addresses = san.get_values_for_type(x509.IPAddress)
    return (*san.get_values_for_type(x509.DNSName), *map(str, addresses))
