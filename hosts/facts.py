"""What can be learned about one host: its files, its server.tab, and what its endpoints serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from certs import pair
from certs.certificate_file import holds_key
from hosts import addresses, mailroot
from hosts.addresses import AddressError
from hosts.mailroot import ServerTab
from hosts.messages import Message
from hosts.probe import NAMES_KEPT, Endpoint, EndpointResult, label, probe
from hosts.transports.base import FileInfo, Transport, TransportError

Probe = Callable[[str, Endpoint], Awaitable[EndpointResult]]

#: XMail opens certificate and key one after the other, and so do we: a look at a host may meet the
#: middle of a switch. A difference counts only if it is still there after these pauses.
LOOK_AGAIN_AFTER_S = (0.1, 0.5)


@dataclass(frozen=True)
class FileFacts:
    """One file of the pair. `state` is that of `certs.pair.check`, or else

    unknown (the host could not be asked), unreadable (it refused), or unseen (it is there, but
    its content must not cross a channel that is not confidential).
    """

    state: str = "unknown"
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    holds_key: bool = False  # a certificate file that holds a private key too

    def to_json(self) -> dict[str, Any]:
        """A JSON object; the mode as people write it, "0600"."""
        mode = None if self.mode is None else f"{self.mode:04o}"
        return {"state": self.state, "mode": mode, "uid": self.uid, "gid": self.gid}


@dataclass(frozen=True)
class PairFacts:
    """The pair in MailRoot, without its secrets. `state`: as FileFacts, for the two together."""

    state: str = "unknown"
    matches: bool | None = None
    sha256: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    common_name: str = ""
    names: tuple[str, ...] = ()  # of the SAN, or else the common name
    has_san: bool = False
    key_label: str = ""
    self_signed: bool = False
    is_ca: bool = False
    chain_length: int = 0

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "state": self.state,
            "matches": self.matches,
            "sha256": self.sha256,
            "not_before": self.not_before.isoformat() if self.not_before else "",
            "not_after": self.not_after.isoformat() if self.not_after else "",
            "common_name": self.common_name,
            "names": list(self.names[:NAMES_KEPT]),
            "has_san": self.has_san,
            "key_label": self.key_label,
            "self_signed": self.self_signed,
            "is_ca": self.is_ca,
            "chain_length": self.chain_length,
        }


@dataclass(frozen=True)
class CAFacts:
    """The CA certificates for verifying clients; `file` is ok, missing, bad, large or unknown."""

    file: str = "unknown"
    file_count: int = 0
    directory_count: int = 0

    @property
    def installed(self) -> bool:
        """Whether there is any."""
        return bool(self.file_count or self.directory_count)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "file": self.file,
            "file_count": self.file_count,
            "directory_count": self.directory_count,
        }


@dataclass(frozen=True)
class Facts:
    """Everything that was seen of one host at one time; holds no secret."""

    transport: str = ""
    os: str = "unix"
    address: str = ""
    mailroot: str = ""
    reachable: bool = False  # by its transport
    error: Message | None = None  # why it is not, or why only part of it could be read
    is_mailroot: bool | None = None
    sees_modes: bool = False
    key: FileFacts = field(default_factory=FileFacts)
    certificate: FileFacts = field(default_factory=FileFacts)
    pair: PairFacts = field(default_factory=PairFacts)
    server_tab: ServerTab | None = None
    mailroot_uid: int | None = None  # the owner of server.tab
    ca: CAFacts = field(default_factory=CAFacts)
    placed_sha256: str = ""  # waits in sslconf
    endpoints: tuple[EndpointResult, ...] = ()
    recorded_sha256: str = ""
    key_left_open: bool = False  # an installation noted it, and this transport sees no modes

    @classmethod
    def unreachable(
        cls, error: Message, endpoints: Iterable[Endpoint], recorded_sha256: str | None
    ) -> Facts:
        """What is known of a host that could not even be tried."""
        results = tuple(
            _not_connected(endpoint, Message("probe.not_tried")) for endpoint in endpoints
        )
        return cls(error=error, endpoints=results, recorded_sha256=recorded_sha256 or "")

    @property
    def on(self) -> list[EndpointResult]:
        """The results of the endpoints that are switched on here and were tried."""
        skipped = {"probe.off", "probe.not_tried"}
        return [result for result in self.endpoints if result.message.code not in skipped]

    @property
    def proven(self) -> bool:
        """Whether a handshake showed that XMail can use the pair on disk."""
        return any(result.ok and result.sha256 == self.pair.sha256 for result in self.on)

    def to_json(self) -> dict[str, Any]:
        """A JSON object for storing and for showing recorded, disk and wire side by side."""
        return {
            "transport": self.transport,
            "os": self.os,
            "address": self.address,
            "mailroot": self.mailroot,
            "reachable": self.reachable,
            "error": self.error.to_json() if self.error else None,
            "is_mailroot": self.is_mailroot,
            "key": self.key.to_json(),
            "certificate": self.certificate.to_json(),
            "pair": self.pair.to_json(),
            "server_tab": self.server_tab.to_json() if self.server_tab else None,
            "ca": self.ca.to_json(),
            "placed_sha256": self.placed_sha256,
            "endpoints": [result.to_json() for result in self.endpoints],
            "recorded_sha256": self.recorded_sha256,
        }


async def gather(
    transport: Transport,
    endpoints: Iterable[Endpoint],
    address: str,
    recorded_sha256: str | None,
    probe: Probe = probe,
) -> Facts:
    """Looks at one host, its files and its endpoints at once. Enters and leaves the transport;
    raises nothing that a host can cause."""
    target = transport.target
    facts = Facts(
        transport=target.transport,
        os=target.os,
        address=address,
        mailroot=target.mailroot,
        sees_modes=transport.sets_mode,
        recorded_sha256=recorded_sha256 or "",
    )
    wire = _Wire(address, tuple(endpoints), probe, transport)
    looking = asyncio.create_task(wire.look_at_all())
    try:
        async with transport:
            facts = await _read_all(transport, facts)
            await looking
            for pause_s in LOOK_AGAIN_AFTER_S:
                again = wire.unlike(facts.pair.sha256)
                if not again and facts.pair.state != "mismatch":
                    break
                await asyncio.sleep(pause_s)
                facts = await _read_pair(transport, facts)
                await wire.look(again)
    except TransportError as error:
        facts = replace(facts, error=error.message)
        await looking
    finally:
        looking.cancel()
    return replace(facts, endpoints=tuple(wire.results.values()))


class _Wire:
    """The endpoints of the host, each with what it served last."""

    def __init__(
        self, address: str, endpoints: Sequence[Endpoint], probe: Probe, transport: Transport
    ) -> None:
        self.results: dict[Endpoint, EndpointResult] = {}
        self._address = address
        self._endpoints = endpoints
        self._probe = probe
        self._allowed = transport.target.allowed_networks

    async def look_at_all(self) -> None:
        await self.look(self._endpoints)

    async def look(self, endpoints: Sequence[Endpoint]) -> None:
        if not self._address:
            self._note(endpoints, Message("probe.no_address"))
            return
        try:
            ip = await addresses.resolve(self._address, self._allowed)
        except AddressError as error:
            self._note(endpoints, error.message)
            return
        found = await asyncio.gather(*(self._probe(ip, endpoint) for endpoint in endpoints))
        self.results |= dict(zip(endpoints, found, strict=True))

    def unlike(self, sha256: str) -> list[Endpoint]:
        """The endpoints that speak, and serve something else than the certificate on disk."""
        return [
            endpoint
            for endpoint, result in self.results.items()
            if result.stage in {"handshake", "done"} and not (result.ok and result.sha256 == sha256)
        ]

    def _note(self, endpoints: Sequence[Endpoint], message: Message) -> None:
        self.results |= {endpoint: _not_connected(endpoint, message) for endpoint in endpoints}


def _not_connected(endpoint: Endpoint, message: Message) -> EndpointResult:
    if not endpoint.port:
        message = Message("probe.off")
    message = Message(
        message.code, {"endpoint": label(endpoint.name, endpoint.port), **message.params}
    )
    return EndpointResult(endpoint.name, endpoint.port, ok=False, stage="connect", message=message)


async def _read_all(transport: Transport, facts: Facts) -> Facts:
    """Everything on disk; raises TransportError when the host cannot be asked at all."""
    tab = await transport.read(mailroot.SERVER_TAB)
    if tab is not None and len(tab) > mailroot.MOST_SERVER_TAB:
        message = Message("transport.too_large", {"path": mailroot.SERVER_TAB})
        raise TransportError(message, permanent=True)
    facts = replace(
        facts,
        reachable=True,
        is_mailroot=tab is not None,
        server_tab=mailroot.parse_server_tab(tab) if tab is not None else None,
    )
    if info := await transport.info(mailroot.SERVER_TAB):
        facts = replace(facts, mailroot_uid=info.uid)
    facts = await _read_pair(transport, facts)
    try:
        return replace(facts, ca=await _read_cas(transport), placed_sha256=await placed(transport))
    except TransportError as error:
        return replace(facts, error=error.message)


async def _read_pair(transport: Transport, facts: Facts) -> Facts:
    certificate_pem, certificate = await _read_file(transport, mailroot.CERTIFICATE)
    key_pem, key, error = await _read_key(transport)
    state = pair.check(key_pem, certificate_pem)
    if key.state in {"unseen", "unreadable"}:
        certificate_ok = state.certificate in {"ok", "weak_signature"}
        whole = key.state if certificate_ok else state.certificate
    else:
        key, whole = replace(key, state=state.key), state.code
    return replace(
        facts,
        error=error,
        key=key,
        certificate=replace(
            certificate,
            state=state.certificate,
            holds_key=certificate_pem is not None and holds_key(certificate_pem),
        ),
        pair=_pair_facts(whole, state, certificate_pem),
    )


async def _read_key(transport: Transport) -> tuple[bytes | None, FileFacts, Message | None]:
    """The key, what is known of its file, and why it could not be read."""
    if not transport.confidential:
        present = await transport.list(".", mailroot.KEY)
        return None, FileFacts("unseen" if present else "missing_key"), None
    try:
        return *(await _read_file(transport, mailroot.KEY)), None
    except TransportError as refused:  # whoever logs in here may read less than XMail may
        info = None
        with suppress(TransportError):
            info = await transport.info(mailroot.KEY)
        return None, _file_facts(info, "unreadable"), refused.message


async def _read_file(transport: Transport, path: str) -> tuple[bytes | None, FileFacts]:
    data = await transport.read(path)
    info = await transport.info(path) if data is not None else None
    return data, _file_facts(info, "unknown")


def _file_facts(info: FileInfo | None, state: str) -> FileFacts:
    if info is None:
        return FileFacts(state)
    return FileFacts(state, info.mode, info.uid, info.gid)


def _pair_facts(whole: str, state: pair.PairState, certificate_pem: bytes | None) -> PairFacts:
    facts = PairFacts(
        state=whole,
        matches=state.matches,
        sha256=state.sha256,
        not_before=state.not_before,
        not_after=state.not_after,
        chain_length=state.chain_length,
    )
    try:
        leaf = pair.facts(certificate_pem or b"")
    except pair.PairError:
        return facts
    return replace(
        facts,
        common_name=leaf.common_name,
        names=leaf.names,
        has_san=leaf.has_san,
        key_label=leaf.key_label,
        self_signed=leaf.self_signed,
        is_ca=leaf.is_ca,
    )


async def _read_cas(transport: Transport) -> CAFacts:
    names = [file.name for file in await transport.list(mailroot.CA_DIRECTORY, "*")]
    hashed = sum(1 for name in names if mailroot.HASHED_NAME.fullmatch(name.lower()))
    bundle = await transport.read(mailroot.CA_FILE)
    if bundle is None:
        return CAFacts("missing", 0, hashed)
    try:
        return CAFacts("ok", len(pair.load_certificates(bundle, pair.MOST_BUNDLE)), hashed)
    except pair.PairError as error:
        return CAFacts("large" if error.code == "large_certificate" else "bad", 0, hashed)


async def placed(transport: Transport) -> str:
    """The certificate that waits in sslconf; "" if there is none, or none that we may look at."""
    try:
        waiting = await transport.read(f"{mailroot.SSLCONF}/{mailroot.CERTIFICATE}")
    except TransportError as error:
        if error.message.code != "transport.link_owner":
            raise
        return ""  # somebody has put it there by hand, and it is not installed
    return pair.check(None, waiting).sha256
