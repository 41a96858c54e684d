"""The seam between the portal and a host: what every transport promises.

A transport is built from a frozen `Target`, never from a model, and is an asynchronous context
manager that may be entered again after it was left (a new connection to the same host). Paths are
relative to MailRoot and separated by "/". Everything that goes wrong is a `TransportError`.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from hosts import addresses
from hosts.addresses import AddressError, Network
from hosts.messages import Message
from hosts.together import together

SSLCONF = "sslconf"
PRIVATE_MODE, PUBLIC_MODE = 0o600, 0o644  # of a file
#: Names in one directory; MailRoot and those below it hold some dozens.
MOST_NAMES = 10_000
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class TransportError(Exception):
    """The host could not be reached, refused, or is not what it should be.

    `permanent` says that trying again cannot help before a person changed something: a wrong
    host key, a bad login, a directory that is missing or may not be written.
    """

    def __init__(self, message: Message, *, permanent: bool = False) -> None:
        super().__init__(str(message))
        self.message = message
        self.permanent = permanent


class ChannelUnusable(TransportError):
    """The host answers, but its secure channel needs the very pair that is missing or broken."""


@dataclass(frozen=True)
class Credential:
    """The secrets of one host, unsealed for one run; its repr shows none of them."""

    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True)
class Target:
    """Everything that a transport needs to know about a host.

    `trust_fingerprint` is the SHA-256 of the SSH host key or of the CTRL certificate, as
    `normal_fingerprint` writes it; empty only where a transport needs none. `jump` is
    "user@host[:port]". `allow_plain_key` lets a private key cross an unencrypted channel;
    `clear_recovery` lets the portal log in over one to finish an interrupted switch.
    """

    name: str
    transport: str
    os: str = "unix"
    address: str = ""
    port: int | None = None
    user: str = ""
    mailroot: str = ""
    credential: Credential = field(default_factory=Credential)
    trust_fingerprint: str = ""
    jump: str = ""
    allow_plain_key: bool = False
    clear_recovery: bool = True
    allowed_networks: tuple[Network, ...] = ()
    #: Directories below which a local MailRoot has to lie; without any it may lie anywhere.
    mailroot_bases: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileInfo:
    """One file as the host lists it; `mode` (permission bits) and owner where they are known."""

    name: str
    size: int
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True)
class File:
    """A file to write; `private` ones are readable by their owner alone, and never shown."""

    path: str
    data: bytes = field(repr=False)
    private: bool = False


Listing = list[FileInfo]
Ready = Callable[[], Awaitable[None]]


class Transport(ABC):
    """Reads and replaces files below one MailRoot."""

    #: Whether the host can set and tell the permissions of a file through this transport.
    sets_mode: bool = False
    #: Whether a file is replaced as a whole, so that no reader ever sees half of it.
    atomic: ClassVar[bool] = False
    #: Whether the MailRoot is a directory found by its path, which may be the wrong one.
    by_path: ClassVar[bool] = False
    #: Whether the identity that is pinned is the very certificate that an installation replaces.
    identity_is_pair: ClassVar[bool] = False

    def __init__(self, target: Target) -> None:
        self.target = target
        #: Whether a private key may cross the channel that is open now.
        self.confidential = False
        #: SHA-256 of the host key or certificate that was met; "" where there is none.
        self.identity = ""
        #: Fingerprints accepted beside the pinned one: those that this very run installs.
        self.also_trusted: frozenset[str] = frozenset()
        #: What a person should know about how the last `replace_all` went.
        self.notes: list[Message] = []

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    async def connect(self) -> None:
        """Open the channel and make sure that the other side is the host that was registered.

        `close` must be called also after it has failed.
        """

    async def connect_in_clear(self, *, ready: Ready | None = None) -> None:
        """Open a channel that no secret may cross, to finish an interrupted `replace_all`.

        Only for transports whose secure channel depends on the pair that is being replaced. A
        `connect` afterwards tries the secure channel; this one stays open until that has worked.
        `ready` is awaited just before the log-in; there is none if it raises.
        """
        raise TransportError(Message("transport.no_clear_channel"), permanent=True)

    async def scan(self) -> str:
        """The identity that the other side shows, for a person to compare and confirm.

        Of several it is the trusted one, if that is among them. Opens a connection of its own, and
        sends no secret. "" where there is nothing to pin.
        """
        return ""

    async def locate(self, address: str) -> str:
        """The IP address to connect to; raises TransportError where the address is refused."""
        try:
            return await addresses.resolve(address, self.target.allowed_networks)
        except AddressError as error:
            raise TransportError(error.message, permanent=error.permanent) from None

    @abstractmethod
    async def close(self) -> None:
        """Close the channel; does nothing when it is closed already, and never raises."""

    @abstractmethod
    async def read(self, path: str) -> bytes | None:
        """The content of a file, or None if there is no such file."""

    async def read_all(self, paths: Sequence[str]) -> list[bytes | None]:
        """The content of each file as `read` gives it, in as few round trips as can be."""
        return await together(*map(self.read, paths))

    @abstractmethod
    async def info(self, path: str) -> FileInfo | None:
        """Size, permissions and owner of a file, or None if there is no such file."""

    @abstractmethod
    async def list(self, path: str, pattern: str) -> Listing:
        """The files in a directory whose name matches the shell pattern; [] without it."""

    @abstractmethod
    async def replace_all(
        self, files: Sequence[File], token: str, *, ready: Ready | None = None
    ) -> None:
        """Replace the files by new ones in the order given, as close to at once as can be.

        Nothing is replaced before every file is safely stored on the host. `token` names the
        staged files of this run; those that another run left are deleted first, so that a run
        which was given up cannot replace anything any more. `ready` is awaited when everything
        is staged, just before the first file is replaced; what it raises ends the run on the spot.
        """

    @abstractmethod
    async def remove(self, paths: Iterable[str]) -> None:
        """Delete the files in the order given; a missing one is no error."""

    async def set_mode(self, path: str, mode: int) -> None:
        """Set the permissions of an existing file, where `sets_mode`."""
        raise TransportError(Message("transport.no_mode", {"path": path}), permanent=True)

    def canonical(self, data: bytes | None) -> bytes | None:
        """What `read` returns after `data` was written (a transport may change line ends)."""
        return data


def stage_name(path: str, token: str) -> str:
    """Where a run keeps its new version of a file until it is switched in."""
    return f"{SSLCONF}/.{path.rsplit('/', 1)[-1]}.{token}.new"


STAGE_PATTERN = ".server.*.new"


def too_many(path: str) -> TransportError:
    """A directory with more names than anybody should keep in memory."""
    message = Message("transport.too_many", {"path": path, "most": MOST_NAMES})
    return TransportError(message, permanent=True)


def check_path(path: str) -> str:
    """The path, if it is a plain one below MailRoot; TransportError if it could lead elsewhere."""
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\\" in path or _CONTROL.search(path):
        raise TransportError(Message("transport.bad_path", {"path": repr(path)}), permanent=True)
    return path


def check_token(token: str) -> str:
    """The token, if it can be part of a file name; anything else is a mistake of the caller."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", token):
        raise ValueError("a token consists of letters, digits, '-' and '_'")
    return token


def normal_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as people write it (colons, `SHA256:` and base64) as lowercase hex.

    Text that is no SHA-256 fingerprint comes back as it is, and so matches nothing.
    """
    text = text.strip()
    if text[:7].upper() == "SHA256:":
        text = text[7:]
    plain = text.replace(":", "").replace(" ", "")
    if re.fullmatch(r"[0-9A-Fa-f]{64}", plain):
        return plain.lower()
    if re.fullmatch(r"[A-Za-z0-9+/]{43}=?", text):
        return b64decode(text.rstrip("=") + "=").hex()
    return text


def openssh_fingerprint(sha256: str) -> str:
    """A SHA-256 as OpenSSH shows it, for a person to compare: "SHA256:…"."""
    return "SHA256:" + b64encode(bytes.fromhex(sha256)).decode().rstrip("=") if sha256 else ""


def leaf_sha256(pem: bytes | None) -> str:
    """The SHA-256 of the first certificate in a PEM file as lowercase hex; "" without one."""
    _, begun, rest = (pem or b"").partition(_BEGIN)
    body, ended, _ = rest.partition(_END)
    if not begun or not ended:
        return ""
    try:
        return hashlib.sha256(b64decode(b"".join(body.split()))).hexdigest()
    except ValueError:
        return ""
