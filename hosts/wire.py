"""A connection to a server that speaks in lines, in clear or inside TLS.

The dialogues of CTRL (hosts/ctrl.py) and of the probe (hosts/probe_dialogue.py) run over it.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import ssl
import warnings
from typing import Any

from hosts.messages import printable

MAX_BLOCK = 4 * 1024 * 1024
SHOWN_CHARACTERS = 120
_READ = 64 * 1024
# OpenSSL works through everything that it is given before it answers, for a second and more where
# that is megabytes of key updates: it is given this much, and then others have their turn.
_PIECE = 16 * 1024
# A server may send so much in vain: certificates, tickets. A byte of data is worth the record
# that it comes in, and more.
MOST_IN_VAIN = 256 * 1024
_WORTH = 128
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux
_LONE_DOT = re.compile(rb"(?:\A|\n)(\.\r?\n)")


class Wire(asyncio.Protocol):
    """Sends at once, and reads whole, bounded lines; whoever calls limits the time.

    What breaks raises OSError (ConnectionError, ssl.SSLError) or EOFError.
    """

    def __init__(self) -> None:
        self.tls: ssl.SSLObject | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._ended: Exception | None = EOFError()
        self._waiter: asyncio.Future[None] | None = None
        self._buffer = bytearray()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._sealed = False  # whether what comes in is TLS
        self._waiting = bytearray()  # what came in and is more than a piece
        self._in_vain = 0  # bytes that OpenSSL was given and made nothing of

    async def connect(self, family: int, sockaddr: tuple[Any, ...]) -> None:
        """A TCP connection to this address; there is none before."""
        self.close()
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await self._loop.sock_connect(sock, sockaddr)
            await self._loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise

    def send(self, data: bytes) -> None:
        """Hand the data to the connection, which takes it all; a broken one shows in reading."""
        if self._transport is None:
            raise EOFError
        if self.tls is None:
            self._transport.write(data)
        else:
            self.tls.write(data)
            self._flush()

    async def line(self, most: int) -> bytes:
        """The next line without its end; EOFError if none comes, or none within `most` bytes."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > most:
                raise EOFError
            await self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    async def block(self) -> bytes:
        """The lines that follow, with their ends, up to a lone dot and without it.

        EOFError if they end before that, or are more than MAX_BLOCK bytes.
        """
        looked = 0
        while not (end := _LONE_DOT.search(self._buffer, looked)):
            if len(self._buffer) > MAX_BLOCK:
                raise EOFError
            looked = max(0, len(self._buffer) - len(b"\n.\r"))
            await self._more()
        lines = bytes(self._buffer[: end.start(1)])
        del self._buffer[: end.end()]
        return lines

    async def handshake(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """TLS from here on."""
        self._buffer.clear()  # what came in clear must not pass for an answer inside TLS
        self._sealed = True
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                await self._arrival()
        self.tls = tls
        self._flush()
        self._acknowledge_at_once()

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _more(self) -> None:
        """Wait until the buffer has grown."""
        had = len(self._buffer)
        while len(self._buffer) == had:
            if self.tls is None or not (self._incoming.pending or self.tls.pending()):
                self._flush()
                await self._arrival()
                continue
            data = b""
            try:
                data = self.tls.read(_READ)
            except ssl.SSLWantReadError:
                continue  # that was no whole record
            except ssl.SSLZeroReturnError:
                pass
            if not data:
                self._ended = EOFError()  # the connection may stay open, but nothing more comes
                raise self._ended
            self._buffer += data
            self._in_vain = max(0, self._in_vain - _WORTH * len(data))

    async def _arrival(self) -> None:
        """Wait until something came in, or another piece of it has its turn."""
        if self._in_vain > MOST_IN_VAIN:
            self._ended = EOFError()
            raise self._ended
        if self._waiting:
            await asyncio.sleep(0)
            self._give(self._waiting[:_PIECE])
            del self._waiting[:_PIECE]
            return
        if self._ended is not None:
            raise self._ended
        if self._transport is None:
            raise EOFError
        self._transport.resume_reading()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _give(self, piece: bytes | bytearray) -> None:
        self._incoming.write(piece)
        self._in_vain += len(piece)

    def _flush(self) -> None:
        if self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())

    def _acknowledge_at_once(self) -> None:
        """Acknowledge what comes next without the kernel's usual 40 ms of patience.

        A server that sends TLS 1.3 session tickets with Nagle's algorithm on holds its first line
        back until then (docs/xmail.md).
        """
        if _QUICKACK is not None and self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  that is what it makes of a socket
        self._transport, self._ended = transport, None

    def data_received(self, data: bytes) -> None:
        if self._sealed and not self._waiting and self._incoming.pending + len(data) <= _PIECE:
            self._give(data)
        else:
            (self._waiting if self._sealed else self._buffer).extend(data)
            held = len(self._waiting) + len(self._buffer)
            if held > MAX_BLOCK and self._transport is not None:
                self._transport.pause_reading()  # nobody asked for that much
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = exc or EOFError()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@functools.cache
def accepting_any() -> ssl.SSLContext:
    """TLS that accepts whatever is served: what counts is its fingerprint, or that it is reported.

    Old XMail builds on Windows may know nothing newer than TLS 1.0.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    # Without DHE, whose group the server makes up: 10,000 bits cost a second, in which no other
    # host is answered. Whoever has no ECDHE, as old builds, has RSA.
    context.set_ciphers("DEFAULT:!kDHE:@SECLEVEL=0")
    return context


def shown(text: str) -> str:
    """What a server said, fit for a sentence: short and printable."""
    clean = printable(text)
    return clean if len(clean) <= SHOWN_CHARACTERS else f"{clean[:SHOWN_CHARACTERS]}…"
