"""The dialogues of the probe, word by word: SMTP, POP3 and CTRL as docs/xmail.md has them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

from hosts.messages import Message, system_reason

MAX_LINE = 2048
MAX_LINES = 100
FAREWELL_S = 2.0
SHOWN_CHARACTERS = 120

#: endpoint -> protocol
PROTOCOLS = {
    "smtp": "smtp",
    "submission": "smtp",
    "smtps": "smtp",
    "pop3": "pop3",
    "pop3s": "pop3",
    "ctrls": "ctrl",
}
#: The endpoints that speak TLS from the first byte.
SECURED_AT_ONCE = frozenset({"smtps", "pop3s", "ctrls"})
#: How a good answer begins.
EXPECTED = {"smtp": "220", "pop3": "+OK", "ctrl": "+"}
_START = {"smtp": "STARTTLS", "pop3": "STLS"}
_SWITCH = {"smtp": "EnableSMTP-TLS", "pop3": "EnablePOP3-TLS"}
_SWITCHED_OFF = {"smtp": "454 TLS not available", "pop3": "-ERR Command disabled"}
_FAREWELL = {"smtp": "QUIT", "pop3": "QUIT", "ctrl": ""}  # CTRL knows none before a log-in
_REFUSAL = {"smtp": ("4", "5"), "pop3": ("-ERR",), "ctrl": ("-",)}
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
_XMAIL = re.compile(r"XMail(?:[ /](?P<version>[0-9][\w.+-]*))?", re.IGNORECASE)


class Failure(Exception):
    """The probe ends here: at this stage, for this reason."""

    def __init__(self, stage: str, message: Message) -> None:
        super().__init__(str(message))
        self.stage = stage
        self.message = message


class Channel:
    """A socket that reads whole, bounded lines, in clear or inside TLS, each step in its time.

    Raises OSError (TimeoutError, ConnectionError, ssl.SSLError) and EOFError.
    """

    def __init__(self, timeout_s: float) -> None:
        self.tls: ssl.SSLObject | None = None
        self.xmail_version = ""
        self.chain: tuple[bytes, ...] = ()
        self.tls_version = ""
        self.cipher = ""
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._end = self._loop.time() + 2 * timeout_s
        self._sock: socket.socket | None = None
        self._buffer = b""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    @contextlib.asynccontextmanager
    async def step(self, limit_s: float | None = None) -> AsyncIterator[None]:
        """One step of the dialogue; TimeoutError when it takes too long."""
        limit = self._timeout_s if limit_s is None else min(limit_s, self._timeout_s)
        async with asyncio.timeout_at(min(self._loop.time() + limit, self._end)):
            yield

    async def connect(self, family: int, sockaddr: tuple[Any, ...]) -> None:
        """A TCP connection to this address; there is none before."""
        self.close()
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        await self._loop.sock_connect(self._sock, sockaddr)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def line(self) -> str:
        """The next line without its end; EOFError for a line cut short or without an end."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_LINE:
                raise EOFError
            self._buffer += await self._read()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r").decode("latin-1")

    async def send(self, line: str) -> None:
        """One line."""
        data = f"{line}\r\n".encode("ascii")
        if self.tls is None:
            await self._loop.sock_sendall(self._open, data)
        else:
            self.tls.write(data)
            await self._flush()

    async def handshake(self, context: ssl.SSLContext, server_name: str | None) -> None:
        """TLS from here on."""
        self._buffer = b""  # what came in clear must not pass for an answer inside TLS
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
        self.tls = tls
        # Noted now: a session that the server breaks later tells nothing any more.
        self.chain = served_chain(tls)
        self.tls_version = tls.version() or ""
        self.cipher = (tls.cipher() or ("",))[0]
        await self._flush()

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    @property
    def _open(self) -> socket.socket:
        if self._sock is None:
            raise EOFError
        return self._sock

    async def _read(self) -> bytes:
        if self.tls is None:
            data = await self._loop.sock_recv(self._open, MAX_LINE)
        else:
            data = await self._read_tls(self.tls)
        if not data:
            raise EOFError
        return data

    async def _read_tls(self, tls: ssl.SSLObject) -> bytes:
        while True:
            try:
                return tls.read(MAX_LINE)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLZeroReturnError:
                return b""

    async def _feed(self) -> None:
        data = await self._loop.sock_recv(self._open, 65536)
        if not data:
            raise EOFError
        self._incoming.write(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._open, self._outgoing.read())


def served_chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates that the peer showed, as DER, leaf first; Python < 3.13 tells the leaf."""
    if whole := getattr(tls, "get_unverified_chain", None):
        return tuple(whole())
    leaf = tls.getpeercert(binary_form=True)
    return (leaf,) if leaf else ()


def broken_at_once(name: str) -> Failure:
    """What it means that the connection was accepted and dropped before a word was said."""
    if name in SECURED_AT_ONCE:
        return Failure("handshake", Message("probe.dropped_at_once"))
    return Failure("banner", Message("probe.closed_at_banner"))


async def talk(
    channel: Channel, name: str, context: ssl.SSLContext, server_name: str | None
) -> Message:
    """The dialogue on an open connection: what to say of a good one; raises Failure."""
    protocol = PROTOCOLS[name]
    if name in SECURED_AT_ONCE:
        await _handshake(channel, context, server_name, after_ready=False)
        return await _greeting_inside(channel, protocol)
    await _greeting(channel, protocol)
    await _start_tls(channel, protocol)
    await _handshake(channel, context, server_name, after_ready=True)
    return await _farewell(channel, protocol)


async def _greeting(channel: Channel, protocol: str) -> None:
    try:
        async with channel.step():
            text = await _reply(channel, protocol)
    except TimeoutError:
        raise Failure("banner", Message("probe.silent_banner")) from None
    except (OSError, EOFError):
        raise Failure("banner", Message("probe.closed_at_banner")) from None
    if text.startswith(_REFUSAL[protocol]):
        raise Failure("banner", Message("probe.turned_away", {"reply": _shown(text)}))
    _recognise(channel, protocol, text)


def _recognise(channel: Channel, protocol: str, text: str) -> None:
    """Takes XMail's version from its greeting; raises Failure if somebody else greets."""
    if not text.startswith(EXPECTED[protocol]):
        raise Failure(
            "banner",
            Message("probe.other_protocol", {"protocol": protocol.upper(), "banner": _shown(text)}),
        )
    if not (found := _XMAIL.search(text)):
        raise Failure("banner", Message("probe.not_xmail", {"banner": _shown(text)}))
    channel.xmail_version = found["version"] or ""


async def _start_tls(channel: Channel, protocol: str) -> None:
    try:
        async with channel.step():
            if protocol == "smtp":
                await channel.send("EHLO probe.invalid")
                await _reply(channel, protocol)
            await channel.send(_START[protocol])
            text = await _reply(channel, protocol)
    except TimeoutError:
        raise Failure("command", Message("probe.silent_command")) from None
    except (OSError, EOFError):
        raise Failure("command", Message("probe.closed_at_command")) from None
    if text == _SWITCHED_OFF[protocol]:
        switch: dict[str, str | int] = {"setting": _SWITCH[protocol], "reply": text}
        raise Failure("command", Message("probe.tls_off", switch))
    if not text.startswith(EXPECTED[protocol]):
        raise Failure("command", Message("probe.command_refused", {"reply": _shown(text)}))


async def _handshake(
    channel: Channel, context: ssl.SSLContext, server_name: str | None, *, after_ready: bool
) -> None:
    try:
        async with channel.step():
            await channel.handshake(context, server_name)
    except TimeoutError:
        raise Failure("handshake", Message("probe.silent_handshake")) from None
    except (ConnectionError, EOFError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        code = "probe.dropped_after_ready" if after_ready else "probe.dropped_at_once"
        raise Failure("handshake", Message(code)) from None
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        code = "probe.not_tls" if error.reason in _NOT_TLS else "probe.tls_failed"
        raise Failure("handshake", Message(code, {"reason": reason})) from None
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise Failure("handshake", Message("probe.tls_failed", {"reason": reason})) from None


async def _greeting_inside(channel: Channel, protocol: str) -> Message:
    """The greeting that follows an immediate handshake. Its absence takes nothing from the proof
    that the certificate was served, unless the server broke the connection."""
    try:
        async with channel.step():
            text = await _reply(channel, protocol)
    except TimeoutError:
        return Message("probe.ok_silent")
    except (OSError, EOFError):
        raise Failure("handshake", Message("probe.dropped_after_handshake")) from None
    if text.startswith(_REFUSAL[protocol]):  # for instance CTRL's "does not like Your IP"
        return Message("probe.ok_turned_away", {"reply": _shown(text)})
    _recognise(channel, protocol, text)
    with contextlib.suppress(OSError, EOFError):
        async with channel.step(FAREWELL_S):
            if _FAREWELL[protocol]:
                await channel.send(_FAREWELL[protocol])
    return Message("probe.ok")


async def _farewell(channel: Channel, protocol: str) -> Message:
    """One command inside TLS: with TLS 1.3 a server that demands a client certificate breaks the
    connection only after the client has finished its handshake."""
    try:
        async with channel.step(FAREWELL_S):
            await channel.send(_FAREWELL[protocol])
            await _reply(channel, protocol)
    except TimeoutError:
        return Message("probe.ok_silent")
    except (OSError, EOFError):
        raise Failure("handshake", Message("probe.dropped_after_handshake")) from None
    return Message("probe.ok")


async def _reply(channel: Channel, protocol: str) -> str:
    """The first line of an answer, the whole of which has been read; EOFError if it never ends."""
    first = line = await channel.line()
    for _ in range(MAX_LINES):
        if protocol != "smtp" or line[3:4] != "-" or not line[:3].isdigit():
            return first
        line = await channel.line()
    raise EOFError


def _shown(text: str) -> str:
    """What a server said, fit for a page: short, and nothing but printable characters."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= SHOWN_CHARACTERS else f"{clean[:SHOWN_CHARACTERS]}…"
