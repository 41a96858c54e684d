"""Which addresses the portal connects to, and the one IP address that a name stands for now.

A name is resolved once for each connection, the answer is checked, and the connection goes to that
very IP address: a name that answers differently a moment later (rebinding) gains nothing. Loopback
and private addresses are where mail servers live and are allowed. What is refused are addresses
that no host has but that reach something on the portal's own side: link-local and cloud metadata
services, multicast and unspecified ones, however they are spelled or embedded in IPv6.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from hosts.messages import Message

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[[str], Awaitable[Sequence[str]]]

LOOKUP_TIMEOUT_S = 10.0

#: Metadata and platform services that lie outside the link-local range.
_METADATA = (
    ipaddress.ip_network("100.100.100.200/32"),  # Alibaba Cloud
    ipaddress.ip_network("168.63.129.16/32"),  # Azure
    ipaddress.ip_network("192.0.0.192/32"),  # Oracle Cloud
    ipaddress.ip_network("fd00:ec2::/32"),  # Amazon EC2
    ipaddress.ip_network("fd20:ce::254/128"),  # Google Cloud
    ipaddress.ip_network("fd00:c1::a9fe:a9fe/128"),  # Oracle Cloud
    ipaddress.ip_network("fd00:42::42/128"),  # Scaleway
    ipaddress.ip_network("fd00:a9fe:a9fe::1/128"),  # Akamai
    ipaddress.ip_network("fd00:100::100:200/128"),  # Alibaba Cloud
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215
#: Prefixes whose last 32 bits are an IPv4 address: compatible, translated (RFC 2765) and NAT64.
_EMBEDDING = (
    ipaddress.ip_network("::/96"),
    ipaddress.ip_network("::ffff:0:0:0/96"),
    ipaddress.ip_network("64:ff9b::/96"),
    _LOCAL_NAT64,
)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
#: Numbers that inet_aton takes for IPv4 addresses although people do not write them so.
_NUMBER = re.compile(r"(0[xX][0-9A-Fa-f]*|[0-9]+)\Z")


class AddressError(Exception):
    """The address is refused, or nobody knows it; `permanent` as for a TransportError."""

    def __init__(self, message: Message, *, permanent: bool = True) -> None:
        super().__init__(str(message))
        self.message = message
        self.permanent = permanent


def embedded_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to by mapping or translation."""
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if address.is_loopback or address.is_unspecified:
        return None
    if any(address in network for network in _EMBEDDING) or _is_isatap(address):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    """Whether the interface part says that an IPv4 address follows (RFC 5214)."""
    return int(address) >> 32 & 0xFFFFFFFF in {0x00005EFE, 0x02005EFE}


def _translated(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """What a NAT64 with a prefix of 48, 56 or 64 bits may make of it: nobody can tell which is set.

    Bits 64 to 71 are left out (RFC 6052). Shorter prefixes of this network lead to 0/8 or 1/8 only.
    """
    if address not in _LOCAL_NAT64:
        return []
    octets = address.packed
    found = (octets[6:8] + octets[9:11], octets[7:8] + octets[9:12], octets[9:13])
    # 0/8 is what shows where another of the layouts is the one that is meant.
    return [ipaddress.IPv4Address(each) for each in found if each[0]]


def is_denied(address: IPAddress) -> bool:
    """Whether no host may have this address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id or address.is_site_local:
            return True
        inner = embedded_ipv4(address)
        if inner is not None and is_denied(inner):
            return True
        if any(map(is_denied, _translated(address))):
            return True
    if (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 4 and address.is_reserved)
    ):
        return True
    return address in _THIS_NETWORK or any(address in network for network in _METADATA)


def check_ip(address: IPAddress, allowed: Sequence[Network] = ()) -> IPAddress:
    """The address to connect to (a mapped IPv4 address as IPv4), or AddressError.

    `allowed`, if it is not empty, holds the only networks in which hosts may be.
    """
    if is_denied(address):
        raise AddressError(Message("address.denied", {"address": str(address)}))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if allowed and not any(address in network for network in allowed):
        raise AddressError(Message("address.not_in_allowed_networks", {"address": str(address)}))
    return address


def parse(address: str) -> IPAddress | str:
    """The IP address or the host name (as A-labels) that a person wrote; AddressError otherwise."""
    text = address.strip().rstrip(".")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    bad = AddressError(Message("address.malformed", {"address": repr(address)}))
    try:
        name = text.encode("idna").decode("ascii")
    except UnicodeError:
        raise bad from None
    try:
        return ipaddress.ip_address(name)  # full-width digits become plain ones only here
    except ValueError:
        pass
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise bad
    if _NUMBER.fullmatch(labels[-1]):
        raise bad
    return name.lower()


def check_port(port: int) -> int:
    """The port, if it can be connected to; AddressError otherwise."""
    if not 1 <= port <= 65535:
        raise AddressError(Message("address.bad_port", {"port": port}))
    return port


async def look_up(name: str) -> list[str]:
    """Every IP address that the system's resolver knows for a name.

    In a thread of its own: the resolver waits long for a DNS that is silent, and in the few threads
    of the event loop such names would keep out all others. Nobody waits for a thread given up on.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str], error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)

    def ask() -> None:
        found: list[str] = []
        failed: Exception | None = None
        try:
            entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            found = [str(entry[4][0]) for entry in entries]
        except (OSError, ValueError) as error:  # a name that cannot be asked for, too
            failed = error
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, found, failed)

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    return await answer


async def resolve(
    address: str,
    allowed: Sequence[Network] = (),
    *,
    lookup: Lookup = look_up,
    timeout_s: float = LOOKUP_TIMEOUT_S,
) -> str:
    """The IP address to connect to for what a person registered as the address of a host.

    Of several answers an IPv4 one is taken first: XMail listens there unless told otherwise.
    Raises AddressError if one answer is denied, or if none is in an allowed network.
    """
    parsed = parse(address)
    if not isinstance(parsed, str):
        return str(check_ip(parsed, allowed))
    try:
        answers = await asyncio.wait_for(lookup(parsed), timeout_s)
        found = [ipaddress.ip_address(answer) for answer in answers]
    except (OSError, ValueError, TimeoutError):
        found = []
    if not found:
        raise AddressError(Message("address.unknown", {"address": parsed}), permanent=False)
    refused: AddressError | None = None
    usable: list[IPAddress] = []
    for answer in found:
        if is_denied(answer):
            raise AddressError(
                Message("address.name_denied", {"name": parsed, "address": str(answer)})
            )
        try:
            usable.append(check_ip(answer, allowed))
        except AddressError as error:
            refused = refused or error
    if refused and not usable:
        raise refused
    return str(min(usable, key=lambda ip: ip.version))  # min() keeps the resolver's order


def is_loopback(ip: str) -> bool:
    """Whether a connection to this IP address stays on this machine."""
    parsed = ipaddress.ip_address(ip)
    return parsed.is_loopback
