"""One client's connection to the XMail double: lines, TLS, and the faults that were ordered.

TLS is done in memory here, above the socket, so that a cut can be ordered after any byte on the
wire. What is inside TLS arrives record by record, each of them whole or not at all.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.doubles.mailroot import flag

#: What XMail has room for in a line, its CR included: of CTRL's commands, log-in, and data.
MAX_LINE, MAX_LOGIN, MAX_DATA = 4094, 254, 2046
AT_ONCE = 65536
T = TypeVar("T")


class Gone(Exception):
    """The connection has ended: by the client, by a fault, or by the end of the server."""


class TooLong(Gone):
    """A line had more characters, its CR included, than XMail has room for."""


#: To an address that ctrl.ipmap.tab does not allow, and to one session more than it has threads.
DENIED = "-00130 Server does not like Your IP"
BUSY = "-00129 Server too busy, retry later"


@dataclass
class Faults:
    """What shall go wrong; every field may be changed while the server runs.

    The stages at which `silent_at` makes the server fall silent, in order: connect, greeting,
    command, ready (the answer to STARTTLS, STLS or #!TLS), handshake, login, upload (before
    `+00101`), stored (the data has been written, the OK is missing), quit.
    """

    services: frozenset[str] | None = None  # to which connections the faults apply; None: all
    silent_at: str = ""
    greeting_delay_s: float = 0.0
    reply_delay_s: float = 0.0
    cut_after_received: int | None = None  # bytes on the wire, handshakes and records as they are
    cut_after_sent: int | None = None
    cuts_left: int | None = None  # so many connections are cut; None: all
    greeting: str | None = None  # said instead of XMail's
    drop: str = "reset"  # how TLS fails with an unusable pair: reset, eof or hang
    ctrl_refusal: str = ""  # said instead of CTRL's greeting: DENIED, BUSY
    logins_left: int | None = None  # later logins are refused
    full_disk: bool = False
    scant_disk: bool = False  # room for what comes in, but not for the file beside it
    read_only: bool = False
    no_copies: bool = False  # nor may XMail write into tmp, where it copies what it sends
    mangle: Callable[[str, bytes], bytes] | None = None  # (path, data) -> what is really stored


@dataclass
class Seen:
    """What the server has met, for tests to look at."""

    connections: Counter[str] = field(default_factory=Counter)
    handshakes: Counter[str] = field(default_factory=Counter)
    failed_handshakes: Counter[str] = field(default_factory=Counter)
    commands: list[tuple[str, str]] = field(default_factory=list)  # (service, line)
    uploads: list[tuple[str, bytes]] = field(default_factory=list)  # (path, data)
    logins: int = 0
    failed_logins: int = 0
    clear_logins: int = 0  # a login of either kind without TLS
    clear_passwords: int = 0  # a password itself, not its MD5 answer, crossed without TLS
    clear_keys: int = 0  # a private key crossed CTRL without TLS, either way
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class Wire:
    """A buffered connection. Like XMail's it keeps what came in clear before a TLS start."""

    def __init__(self, sock: socket.socket, service: str, mailroot: Path, faults: Faults,
                 seen: Seen) -> None:  # fmt: skip
        self.sock = sock
        self.service = service
        self.mailroot = mailroot
        self.seen = seen
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._faults = faults
        self._buffer = b""
        self._received = 0
        self._sent = 0
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def tls(self) -> bool:
        """Whether what passes now is encrypted."""
        return self._tls is not None

    @property
    def faults(self) -> Faults:
        """The faults that apply to this connection."""
        chosen = self._faults.services
        return self._faults if chosen is None or self.service in chosen else _NONE

    def line(self, most: int = MAX_LINE) -> str:
        """The next line without its end; raises Gone when there is none, TooLong after so many.

        Like XMail it goes on reading in the midst of a line that was too long.
        """
        while (end := self._buffer.find(b"\n", 0, most)) < 0:
            if len(self._buffer) >= most:
                self._buffer = self._buffer[most:]
                raise TooLong
            self._buffer += self._receive()
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line.rstrip(b"\r").decode("latin-1")

    def command(self) -> str:
        """The next line, put on record."""
        line = self.line()
        self.seen.commands.append((self.service, line))
        self.stage("command")
        return line

    def send(self, *lines: str) -> None:
        """Lines, each with its CRLF."""
        if self.faults.reply_delay_s:
            time.sleep(self.faults.reply_delay_s)
        data = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        if self._tls is None:
            self._to_wire(data)
        else:
            self._through_tls(lambda tls: tls.write(data))

    def stage(self, name: str) -> None:
        """Falls silent for good if that was ordered for this stage."""
        if self.faults.silent_at == name:
            self.hang()

    def hang(self) -> None:
        """Reads and says nothing until the client gives up; then raises Gone."""
        with _gone_on_error():
            while self.sock.recv(AT_ONCE):
                pass
        raise Gone

    def start_tls(self) -> None:
        """A handshake with the pair as it is on disk now; raises Gone if it comes to nothing.

        XMail loads the certificate, then the key, and checks that they match, after it has said
        that it is ready: an unusable pair shows as a connection that drops.
        """
        self.stage("handshake")
        try:
            context = tls_context(self.mailroot)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            self._note_failed_handshake()
            if self.faults.drop == "hang":
                self.hang()
            if self.faults.drop == "reset":
                with _gone_on_error():
                    select.select([self.sock], [], [], 1)  # the client's hello stays unread
                self.reset_on_close()
            raise Gone from error
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        try:
            self._through_tls(lambda tls: tls.do_handshake())
        except Gone:
            self._note_failed_handshake()
            raise
        with self.seen.lock:
            self.seen.handshakes[self.service] += 1

    def reset_on_close(self) -> None:
        """Makes the coming close a reset instead of an orderly end."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def note_key(self, data: bytes) -> None:
        """Counts a private key that crosses in clear."""
        if not self.tls and b"PRIVATE KEY" in data:
            with self.seen.lock:
                self.seen.clear_keys += 1

    def _receive(self) -> bytes:
        """Something of what the client says, of a record all or nothing; raises Gone at the end."""
        if self._tls is None:
            return self._from_wire()
        data = self._through_tls(lambda tls: tls.read(AT_ONCE))
        if not data:
            raise Gone
        return data

    def _through_tls(self, step: Callable[[ssl.SSLObject], T]) -> T:
        """Does a step of TLS with as many bytes on the wire as it takes."""
        assert self._tls is not None
        with _gone_on_error():
            while True:
                try:
                    return step(self._tls)
                except ssl.SSLWantReadError:
                    pass
                finally:  # an alert as well
                    if self._outgoing.pending:
                        self._to_wire(self._outgoing.read())
                self._incoming.write(self._from_wire())

    def _from_wire(self) -> bytes:
        limit = AT_ONCE
        cut = self.faults.cut_after_received
        if cut is not None and self._may_cut():
            limit = min(limit, cut - self._received)
            if limit <= 0:
                self._cut()
        with _gone_on_error():
            data = self.sock.recv(limit)
        if not data:
            raise Gone
        self._received += len(data)
        return data

    def _to_wire(self, data: bytes) -> None:
        limit = self.faults.cut_after_sent
        rest = None if limit is None or not self._may_cut() else max(limit - self._sent, 0)
        self._sent += len(data) if rest is None else min(rest, len(data))
        with _gone_on_error():
            self.sock.sendall(data if rest is None else data[:rest])
        if rest is not None and rest <= len(data):
            self._cut()

    def _may_cut(self) -> bool:
        return self.faults.cuts_left is None or self.faults.cuts_left > 0

    def _cut(self) -> None:
        with self.seen.lock:
            if self.faults.cuts_left is not None:
                self.faults.cuts_left -= 1
        self.reset_on_close()
        raise Gone

    def _note_failed_handshake(self) -> None:
        with self.seen.lock:
            self.seen.failed_handshakes[self.service] += 1


_NONE = Faults()


class ClosingSSLSocket(ssl.SSLSocket):
    """Closed when nobody holds it: Python 3.11 leaks it when it wraps a socket just reset."""

    def __del__(self) -> None:
        self.close()


def tls_context(mailroot: Path) -> ssl.SSLContext:
    """What XMail makes for one handshake; raises OSError or ValueError for an unusable pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = ClosingSSLSocket
    context.num_tickets = 0  # no resumption
    context.load_cert_chain(
        mailroot / "server.cert", mailroot / "server.key", password=_no_passphrase
    )
    want_cert = flag(mailroot, "SSLWantCert", "0")
    if want_cert or flag(mailroot, "SSLWantVerify", "0"):
        context.verify_mode = ssl.CERT_REQUIRED if want_cert else ssl.CERT_OPTIONAL
        cas = mailroot / "certs.pem"
        if flag(mailroot, "SSLUseCertsFile", "0") and cas.exists():
            context.load_verify_locations(cas)
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase, and nobody is there to type it")


@contextlib.contextmanager
def _gone_on_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Gone from error
