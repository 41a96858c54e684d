"""A host that exists only in memory, the transport that reaches it, and what probes see there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from hosts.install import LeaseLost, Order, Outcome, PairFiles, install
from hosts.messages import Message
from hosts.probe import Endpoint, EndpointResult
from hosts.transports.base import (
    File,
    FileInfo,
    Listing,
    Ready,
    Target,
    Transport,
    TransportError,
    leaf_sha256,
)
from tests.doubles.pairs import Pair, make_pair

BROKEN = TransportError(Message("transport.lost"))


class Killed(BaseException):
    """The process ended here."""


@dataclass
class MemoryHost:
    """Files by path, what happened to them, and what shall go wrong."""

    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    #: The operation number before which something is raised instead, once each.
    faults: dict[int, BaseException] = field(default_factory=dict)
    #: What is raised whenever an operation of this name is about to happen.
    always: dict[str, BaseException] = field(default_factory=dict)
    #: Data that is stored differently from how it was sent.
    mangle: dict[bytes, bytes] = field(default_factory=dict)
    replaced_partly: set[str] = field(default_factory=set)

    def happens(self, operation: str, path: str = "") -> None:
        """Note an operation, or raise what was ordered for it."""
        fault = self.faults.pop(len(self.log), None)
        self.log.append(f"{operation} {path}".strip())
        fault = fault or self.always.get(f"{operation} {path}") or self.always.get(operation)
        if fault is not None:
            raise fault

    def hold(self, pair: PairFiles, folder: str = "") -> None:
        """Lie there from the start."""
        for name, data in (("server.key", pair.key), ("server.cert", pair.certificate)):
            if data is not None:
                self.files[folder + name] = data
                self.modes[folder + name] = 0o600 if name == "server.key" else 0o644

    @property
    def pair(self) -> PairFiles:
        """What lies under XMail's names."""
        return PairFiles(self.files.get("server.key"), self.files.get("server.cert"))

    @property
    def changes(self) -> list[str]:
        """The operations that change something."""
        return [entry for entry in self.log if entry.split()[0] in {"write", "unlink", "chmod"}]


class MemoryTransport(Transport):
    """Every transport's behaviour with none of the input and output."""

    sets_mode = True

    def __init__(self, host: MemoryHost, *, os: str = "unix", mailroot: str = "/MailRoot") -> None:
        super().__init__(Target("memory", "memory", os=os, mailroot=mailroot))
        self.host = host
        self.open = False

    async def connect(self) -> None:
        self.host.happens("connect")
        self.open = self.confidential = True

    async def close(self) -> None:
        self.open = False

    async def read(self, path: str) -> bytes | None:
        self._use("read", path)
        return self.host.files.get(path)

    async def info(self, path: str) -> FileInfo | None:
        self._use("info", path)
        if path not in self.host.files:
            return None
        mode = self.host.modes[path] if self.sets_mode else None
        return FileInfo(path, len(self.host.files[path]), mode)

    async def list(self, path: str, pattern: str) -> Listing:
        self._use("list", path)
        return [FileInfo(name, 0) for name in self.host.files if fnmatchcase(name, pattern)]

    async def replace_all(
        self, files: Sequence[File], token: str, *, ready: Ready | None = None
    ) -> None:
        for file in files:
            self._use("stage", file.path)
        if ready is not None:
            await ready()
        for file in files:
            self._use("write", file.path)
            self.host.files[file.path] = self.host.mangle.get(file.data, file.data)
            self.host.modes[file.path] = 0o600 if file.private else 0o644

    async def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._use("unlink", path)
            self.host.files.pop(path, None)

    async def set_mode(self, path: str, mode: int) -> None:
        self._use("chmod", path)
        self.host.modes[path] = mode

    def _use(self, operation: str, path: str) -> None:
        assert self.open
        self.host.happens(operation, path)


class Wire:
    """What the endpoints of a host serve: the pair that lies there, if it is one of `usable`."""

    def __init__(self, host: MemoryHost, *usable: Pair) -> None:
        self.host = host
        self.usable = {(pair.key, pair.certificate) for pair in usable}
        self.unreachable: set[str] = set()
        self.off: set[str] = set()
        self.foreign: dict[str, str] = {}
        self.failures_left: dict[str, int] = {}
        self.probed: list[str] = []
        self.needs_mode = 0o600  # of the key, or no handshake succeeds
        self.gone_after: int | None = None  # so many looks at an endpoint each

    async def probe(self, address: str, endpoint: Endpoint) -> EndpointResult:
        """Look at one endpoint."""
        name = endpoint.name
        self.probed.append(name)
        if name in self.unreachable:
            return self._result(endpoint, "connect")
        if name in self.off:
            return self._result(endpoint, "command")
        if name in self.foreign:
            return self._result(endpoint, "done", self.foreign[name])
        pair = self.host.pair
        broken = (pair.key, pair.certificate) not in self.usable
        broken |= self.needs_mode & ~self.host.modes.get("server.key", 0o600) != 0
        if self.gone_after is not None:
            broken |= self.probed.count(name) > self.gone_after
        if self.failures_left.get(name):
            self.failures_left[name] -= 1
            broken = True
        if broken:
            return self._result(endpoint, "handshake")
        return self._result(endpoint, "done", leaf_sha256(pair.certificate))

    def _result(self, endpoint: Endpoint, stage: str, sha256: str = "") -> EndpointResult:
        return EndpointResult(
            endpoint.name, endpoint.port, bool(sha256), stage, Message("probe.any"), sha256
        )


class Notebook:
    """A journal in memory; `lost_at` is the step before which the lease turns out to be lost."""

    def __init__(self, *, lost_at: str = "", killed_at: int | None = None) -> None:
        self.steps: list[str] = []
        self.messages: list[Message] = []
        self.adopted: PairFiles | None = None
        self.lost_at = lost_at
        self.killed_at = killed_at

    async def step(self, step: str, message: Message) -> None:
        if step == self.lost_at:
            raise LeaseLost
        if self.killed_at == len(self.steps):
            raise Killed
        self.steps.append(step)
        self.messages.append(message)

    async def adopt(self, previous: PairFiles) -> None:
        assert self.adopted is None
        self.adopted = previous


OLD, NEW, STRANGER = make_pair("old.test"), make_pair("new.test"), make_pair("stranger.test")
OLD_FILES = PairFiles(OLD.key, OLD.certificate)
NEW_FILES = PairFiles(NEW.key, NEW.certificate)
NOTHING = PairFiles(None, None)
ENDPOINTS = (Endpoint("smtp", 25), Endpoint("pop3s", 995))
ALL_STEPS = ["CONNECT", "ADOPT", "STAGE", "SWITCH", "READ_BACK", "VERIFY", "RECORD"]


def order(
    files: PairFiles = NEW_FILES,
    *,
    endpoints: Sequence[Endpoint] = ENDPOINTS,
    place_only: bool = False,
    previous: PairFiles | None = None,
) -> Order:
    return Order(
        files, place_only, "tok", endpoints=endpoints, address="127.0.0.1", previous=previous
    )


class Stage:
    """A host with what it takes to run an order on it."""

    def __init__(self, held: PairFiles = NOTHING) -> None:
        self.host = MemoryHost()
        self.host.hold(held)
        self.wire = Wire(self.host, OLD, NEW)
        self.notebook = Notebook()
        self.transport = MemoryTransport(self.host)

    async def run(self, what: Order) -> Outcome:
        return await install(self.transport, what, self.notebook, self.wire.probe)


def codes(messages: Sequence[Message]) -> list[str]:
    return [message.code for message in messages]
