"""A client of CTRL, XMail's administration protocol (docs/xmail.md), one session at a time.

Every step has a time limit. What goes wrong is a `CtrlError`: the connection is then of no use any
more, except after a `Refused`, which is XMail's orderly "no" to one command.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import re
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Container
from dataclasses import dataclass
from typing import Self

from hosts.messages import Message, Param, system_reason

CLEAR_PORT, TLS_PORT = 6017, 6018
TIMEOUT_S = 10.0
MAX_LINE = 64 * 1024
MAX_BYTES = 4 * 1024 * 1024
#: One TLS record: XMail gets it as a whole or not at all, however the connection breaks.
ONE_RECORD = 16 * 1024

NO_SUCH_FILE, NOT_CREATED, NO_SUCH_DIRECTORY, TLS_OFF = 19, 10, 211, 249
LIST_FOLLOWS, SEND_DATA = 100, 101

_REPLY = re.compile(r"([+-])(\d{5})\s?(.*)")
_LIST_END = re.compile(rb"(?:\A|\n)(\.\r?\n)")
_STAMP = re.compile(r"<[^<>\s]+>")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f"]')


class CtrlError(Exception):
    """The session has come to nothing; `permanent` as for a TransportError."""

    def __init__(
        self, code: str, params: dict[str, Param] | None = None, *, permanent: bool = False
    ) -> None:
        self.message = Message(code, params or {})
        self.permanent = permanent
        super().__init__(str(self.message))


class TLSUnusable(CtrlError):
    """XMail says that it is ready for TLS and then drops: its pair is missing or does not match."""


class Refused(CtrlError):
    """XMail's answer to a command was negative; the session goes on."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__("ctrl.refused_command", {"reply": shown(text)}, permanent=True)
        self.number = number


@dataclass(frozen=True)
class Reply:
    """One line of XMail's: +DDDDD text or -DDDDD text."""

    good: bool
    number: int
    text: str


class Session:
    """One connection; use `open`, then perhaps `start_tls`, then `login`."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self.encrypted = False
        #: SHA-256 of the certificate that XMail presented, in hexadecimal.
        self.sha256 = ""
        self.version = ""
        self._sock: socket.socket | None = sock
        self._timeout_s = timeout_s
        self._stamp = ""
        self._logged_in = False
        self._buffer = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(
        cls, ip: str, port: int, *, tls_at_once: bool = False, timeout_s: float = TIMEOUT_S
    ) -> Self:
        """A session that has been greeted; TLS from the first byte on (6018) if wanted."""
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        session = cls(sock, timeout_s)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            where: dict[str, Param] = {"address": ip, "port": port}
            try:
                async with asyncio.timeout(timeout_s):
                    await session._loop.sock_connect(sock, (ip, port))
            except TimeoutError:
                raise CtrlError("ctrl.no_answer", where) from None
            except ConnectionRefusedError:
                raise CtrlError("ctrl.nobody_listens", where) from None
            except OSError as error:
                params = {**where, "reason": system_reason(error)}
                raise CtrlError("ctrl.unreachable", params) from None
            if tls_at_once:
                await session._handshake()
            await session._greeting()
        except BaseException:
            session.close()
            raise
        return session

    async def start_tls(self) -> None:
        """TLS from here on; raises TLSUnusable where XMail's pair makes that impossible."""
        reply = await self._ask(b"#!TLS\r\n")
        if not reply.good:
            if reply.number == TLS_OFF:
                raise CtrlError("ctrl.tls_off", permanent=True)
            raise Refused(reply.number, reply.text)
        await self._handshake()

    def check_identity(self, trusted: Container[str]) -> None:
        """Raises CtrlError unless the certificate presented is one of those trusted."""
        if not self.sha256 or self.sha256 not in trusted:
            raise CtrlError("ctrl.wrong_certificate", {"met": self.sha256}, permanent=True)

    async def login(self, user: str, password: str) -> None:
        """Log in by MD5 challenge; the password itself never crosses the connection."""
        field = checked(user)
        secret = (self._stamp + password).encode("utf-8", "surrogateescape")
        answer = hashlib.md5(secret, usedforsecurity=False).hexdigest()
        reply = await self._ask(f'"{field}"\t"#{answer}"\r\n'.encode())
        if not reply.good:
            params: dict[str, Param] = {"user": user, "reply": shown(reply.text)}
            raise CtrlError("ctrl.bad_login", params, permanent=True)
        self._logged_in = True

    async def get(self, path: str) -> bytes | None:
        """The content of a file below MailRoot with LF ends; None if XMail cannot open it."""
        try:
            return await self._list_reply(command("cfgfileget", path))
        except Refused as error:
            if error.number == NO_SUCH_FILE:
                return None
            raise

    async def put(self, path: str, data: bytes, *, at_once: bool = False) -> None:
        """Overwrite a file; no data deletes it. A good answer does not prove that it is there.

        `at_once` sends command and data together without waiting for XMail to ask for the data,
        and so, where they fit into one TLS record, leaves no moment at which a broken connection
        makes XMail store half of it. Only for a directory to which such a write has succeeded.
        """
        line, body = command("cfgfileset", path), as_lines(data)
        at_once = at_once and len(line) + len(body) <= ONE_RECORD
        reply = await self._ask(line + body if at_once else line)
        if not (reply.good and reply.number == SEND_DATA):
            if at_once:  # what was sent as data is taken for commands now
                self.close()
            raise Refused(reply.number, reply.text)
        reply = await (self._reply() if at_once else self._ask(body))
        if not reply.good:
            self.close()  # nobody knows how much of the data XMail has taken for commands
            raise Refused(reply.number, reply.text)

    async def files(self, directory: str, pattern: str) -> list[tuple[str, int]]:
        """Names and sizes of the files that match; [] without the directory."""
        try:
            listing = await self._list_reply(command("filelist", directory or ".", pattern))
        except Refused as error:
            if error.number == NO_SUCH_DIRECTORY:
                return []
            raise
        found = []
        for line in listing.decode("utf-8", "replace").splitlines():
            name, _, size = line.partition("\t")
            digits = size.strip('"')
            found.append((name.strip('"'), int(digits) if digits.isdigit() else 0))
        return found

    async def quit(self) -> None:
        """Take leave, if there is somebody who would not take it for a login, and close."""
        with contextlib.suppress(CtrlError):
            if self._logged_in and self._sock is not None:
                async with self._step():
                    await self._write(b'"quit"\r\n')
        self.close()

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    # The dialogue.

    async def _greeting(self) -> None:
        reply = await self._reply(greeting=True)
        stamp = _STAMP.search(reply.text)
        if not reply.good:
            raise CtrlError("ctrl.turned_away", {"reply": shown(reply.text)}, permanent=True)
        if not stamp or "CTRL" not in reply.text:
            raise CtrlError("ctrl.not_xmail", {"reply": shown(reply.text)}, permanent=True)
        self._stamp = stamp[0]
        found = re.search(r"XMail (\S+)", reply.text)
        self.version = found[1] if found else ""

    async def _ask(self, data: bytes) -> Reply:
        async with self._step():
            await self._write(data)
            line = await self._line()
        return self._understood(line)

    async def _list_reply(self, line: bytes) -> bytes:
        reply = await self._ask(line)
        if not (reply.good and reply.number == LIST_FOLLOWS):
            raise Refused(reply.number, reply.text)
        async with self._step():
            lines = b"\n" + await self._list()
        return lines.replace(b"\r\n", b"\n").replace(b"\n.", b"\n")[1:]

    async def _reply(self, *, greeting: bool = False) -> Reply:
        async with self._step():
            line = await self._line()
        return self._understood(line, greeting=greeting)

    def _understood(self, line: bytes, *, greeting: bool = False) -> Reply:
        text = line.decode("utf-8", "replace")
        found = _REPLY.match(text)
        if not found:
            raise CtrlError("ctrl.not_xmail", {"reply": shown(text)}, permanent=greeting)
        return Reply(found[1] == "+", int(found[2]), text)

    # The wire.

    @contextlib.asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        """One step of the dialogue in its time; whatever breaks it ends the session."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError:
            self.close()
            raise CtrlError("ctrl.silent", {"seconds": round(self._timeout_s)}) from None
        except (OSError, EOFError):
            self.close()
            raise CtrlError("ctrl.lost") from None

    async def _handshake(self) -> None:
        self._buffer.clear()  # what came in clear must not pass for an answer inside TLS
        tls = _context().wrap_bio(self._incoming, self._outgoing)
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        await self._flush()
                        await self._feed()
                await self._flush()
        except (TimeoutError, ConnectionError, EOFError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.close()
            raise TLSUnusable("ctrl.tls_unusable", permanent=True) from None
        except (OSError, ValueError) as error:
            self.close()
            reason = getattr(error, "reason", None) or str(error)
            raise CtrlError("ctrl.tls_failed", {"reason": shown(str(reason))}) from None
        self._tls, self.encrypted = tls, True
        certificate = tls.getpeercert(binary_form=True)
        self.sha256 = hashlib.sha256(certificate).hexdigest() if certificate else ""

    async def _write(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            await self._flush()
        else:
            await self._loop.sock_sendall(self._live, data)

    async def _line(self) -> bytes:
        """The next line without its end; EOFError when there is none."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                raise EOFError
            self._buffer += await self._receive()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    async def _list(self) -> bytes:
        """The lines that follow, up to a lone dot and without it."""
        looked = 0
        while not (end := _LIST_END.search(self._buffer, looked)):
            if len(self._buffer) > MAX_BYTES:
                raise CtrlError("ctrl.not_xmail", {"reply": "…"}, permanent=True)
            looked = max(0, len(self._buffer) - len(b"\n.\r"))
            self._buffer += await self._receive()
        lines = bytes(self._buffer[: end.start(1)])
        del self._buffer[: end.end()]
        return lines

    async def _receive(self) -> bytes:
        if self._tls is None:
            data = await self._loop.sock_recv(self._live, MAX_LINE)
            if not data:
                raise EOFError
            return data
        while True:
            try:
                data = self._tls.read(MAX_LINE)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            else:
                if not data:
                    raise EOFError
                return data

    async def _feed(self) -> None:
        data = await self._loop.sock_recv(self._live, MAX_LINE)
        if not data:
            raise EOFError
        self._incoming.write(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._live, self._outgoing.read())

    @property
    def _live(self) -> socket.socket:
        if self._sock is None:
            raise EOFError
        return self._sock


def checked(field: str) -> str:
    """The text, if it can stand between quotes in a command; CtrlError if it would be another."""
    if _FORBIDDEN.search(field):
        raise CtrlError("ctrl.bad_field", {"field": repr(field)}, permanent=True)
    return field


def command(name: str, *arguments: str) -> bytes:
    """A command line: the name and its arguments quoted and TAB separated."""
    return ("\t".join(f'"{checked(word)}"' for word in (name, *arguments)) + "\r\n").encode()


def as_lines(data: bytes) -> bytes:
    """Data as CTRL wants it: CRLF ends, a leading dot doubled, a lone dot at the end."""
    lines = b"\n" + canonical(data)
    return lines.replace(b"\n.", b"\n..")[1:].replace(b"\n", b"\r\n") + b".\r\n"


def canonical(data: bytes) -> bytes:
    """A file as XMail stores it, whatever its line ends were: LF, after the last line too."""
    lines = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
    return lines + b"\n" if lines and not lines.endswith(b"\n") else lines


def shown(text: str) -> str:
    """What a server said, fit for a page: short and printable."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:120])


@functools.cache
def _context() -> ssl.SSLContext:
    """Accepts any certificate, since only its fingerprint counts, and the TLS of an old XMail."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context
