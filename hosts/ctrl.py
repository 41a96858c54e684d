"""A client of CTRL, XMail's administration protocol (docs/xmail.md), one session at a time.

Every step has a time limit. What goes wrong is a `CtrlError`: the connection is then of no use any
more, except after a `Refused`, which is XMail's orderly "no" to one command.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import posixpath
import re
import socket
import ssl
from collections.abc import Container, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from hosts.ctrl_text import as_lines, entries, is_short
from hosts.messages import Message, Param, system_reason
from hosts.wire import Wire, accepting_any, shown

CLEAR_PORT, TLS_PORT = 6017, 6018
TIMEOUT_S = 10.0
MAX_LINE = 64 * 1024
#: One TLS record: XMail gets it as a whole or not at all, however the connection breaks.
ONE_RECORD = 16 * 1024

NO_SUCH_FILE, NOT_CREATED, NO_SUCH_DIRECTORY, BAD_PATH, TLS_OFF = 19, 10, 211, 214, 249
NOT_WRITTEN, TOO_BUSY = 21, 129
LIST_FOLLOWS, SEND_DATA = 100, 101

_REPLY = re.compile(r"([+-])(\d{5})\s?(.*)")
_STAMP = re.compile(r"<[^<>\s]+>")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f"]')


T = TypeVar("T")


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


class CutShort(CtrlError):
    """XMail gave less than a file holds, as it does on a full disk; the session goes on."""

    def __init__(self, path: str, size: int) -> None:
        super().__init__("ctrl.cut_short", {"path": path, "size": size})


@dataclass(frozen=True)
class Reply:
    """One line of XMail's: +DDDDD text or -DDDDD text."""

    good: bool
    number: int
    text: str

    def refused(self) -> Refused:
        """This answer as an error."""
        return Refused(self.number, self.text)


class Session:
    """One connection; use `open`, then perhaps `start_tls`, then `login`.

    Commands that are sent together cost one round trip: XMail reads line after line from what has
    come in, and answers each.
    """

    def __init__(self, timeout_s: float) -> None:
        self.encrypted = False
        #: SHA-256 of the certificate that XMail presented, in hexadecimal.
        self.sha256 = ""
        self.version = ""
        self._wire = Wire()
        self._timeout_s = timeout_s
        self._stamp = ""
        self._logged_in = False

    @classmethod
    async def open(
        cls, ip: str, port: int, *, tls_at_once: bool = False, timeout_s: float = TIMEOUT_S
    ) -> Self:
        """A session that has been greeted; TLS from the first byte on (6018) if wanted."""
        session = cls(timeout_s)
        try:
            await session._connect(ip, port)
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
            raise reply.refused()
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

    async def get(self, *paths: str) -> list[bytes | None]:
        """The contents of files below MailRoot with LF ends; None for one that XMail lacks."""
        return [data for data, _ in await self._get(paths, [])]

    async def get_whole(self, *paths: str) -> list[bytes | None]:
        """As `get`; raises CutShort where XMail gave less than a file holds."""
        found = await self._get(paths, [posixpath.split(path) for path in paths])
        for path, (data, size) in zip(paths, found, strict=True):
            if data is not None and is_short(data, size):
                raise CutShort(path, size)
        return [data for data, _ in found]

    async def _get(
        self, paths: Sequence[str], listed: Sequence[tuple[str, str]]
    ) -> list[tuple[bytes | None, int]]:
        """The contents of files, and the sizes of those that are listed too (else 0)."""

        async def ask() -> list[bytes | Refused | None]:
            gets = [command("cfgfileget", path) for path in paths]
            lists = [command("filelist", directory or ".", name) for directory, name in listed]
            self._wire.send(b"".join(gets + lists))
            answers = [await self._list_or_refusal() for _ in gets]
            return answers + [await self._list_or_refusal() for _ in lists]

        answers = await self._in_time(ask())
        for answer in answers[: len(paths)]:
            if isinstance(answer, Refused):
                raise answer
        texts = [None if isinstance(answer, Refused) else answer for answer in answers]
        sizes = [
            dict(entries(listing or b"", 10)).get(name, 0)
            for (_, name), listing in zip(listed, texts[len(paths) :], strict=True)
        ]
        return list(zip(texts, sizes or [0] * len(paths), strict=False))

    async def write(self, path: str, data: bytes, *, at_once: bool = False) -> bytes | None:
        """Overwrite a file, and return what is there then, as `get` does; no data deletes it.

        `at_once` sends command and data together without waiting for XMail to ask for the data,
        and so, where they fit into one TLS record, leaves no moment at which a broken connection
        makes XMail store half of it. Only for a directory to which such a write has succeeded.
        In clear the file is asked for only when it is the one that was sent: the one before may
        have held a key.
        """
        if not at_once or not _fits(path, data):
            await self._in_time(self._put(path, data))
            [found] = await self.get(path)
            return found

        async def ask() -> bytes | None:
            get = command("cfgfileget", path)
            self._wire.send(_upload(path, data) + (get if self.encrypted else b""))
            await self._taken()
            if not self.encrypted:
                self._wire.send(get)
            return await self._list()

        return await self._in_time(ask())

    async def try_out(self, path: str, data: bytes) -> bytes | None:
        """Write a file, read it back and delete it; returns what was read.

        Shows whether there is room, and that data may follow a command at once.
        """
        if not _fits(path, data):
            found = await self.write(path, data)
            await self.delete(path)
            return found

        async def ask() -> bytes | None:
            self._wire.send(_upload(path, data) + command("cfgfileget", path) + _upload(path, b""))
            await self._taken()
            found = await self._list_or_refusal()
            try:
                await self._taken()
            except Refused:
                if found is not None:  # otherwise there was nothing to delete
                    raise
            if isinstance(found, Refused):
                raise found
            return found

        return await self._in_time(ask())

    async def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        await self._in_time(self._put(path, b""))

    async def files(self, directory: str, pattern: str, most: int = 1000) -> list[tuple[str, int]]:
        """Names and sizes of the first files that match; [] without the directory."""

        async def ask() -> bytes | None:
            self._wire.send(command("filelist", directory or ".", pattern))
            return await self._list(missing=NO_SUCH_DIRECTORY)

        listing = await self._in_time(ask())
        return entries(listing or b"", most)

    def quit(self) -> None:
        """Take leave, if there is somebody who would not take it for a login, and close."""
        with contextlib.suppress(OSError, EOFError):
            if self._logged_in:
                self._wire.send(command("quit"))
        self.close()

    def close(self) -> None:
        """Close the connection, if it is open."""
        self._wire.close()

    # The dialogue.

    async def _connect(self, ip: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        where: dict[str, Param] = {"address": ip, "port": port}
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._wire.connect(family, (ip, port))
        except TimeoutError:
            raise CtrlError("ctrl.no_answer", where) from None
        except ConnectionRefusedError:
            raise CtrlError("ctrl.nobody_listens", where) from None
        except OSError as error:
            params = {**where, "reason": system_reason(error)}
            raise CtrlError("ctrl.unreachable", params) from None

    async def _greeting(self) -> None:
        reply = await self._in_time(self._reply(greeting=True))
        stamp = _STAMP.search(reply.text)
        if not reply.good:
            busy = reply.number == TOO_BUSY
            code = "ctrl.busy" if busy else "ctrl.turned_away"
            raise CtrlError(code, {"reply": shown(reply.text)}, permanent=not busy)
        if not stamp or "CTRL" not in reply.text:
            raise CtrlError("ctrl.not_xmail", {"reply": shown(reply.text)}, permanent=True)
        self._stamp = stamp[0]
        found = re.search(r"XMail (\S+)", reply.text)
        self.version = found[1] if found else ""

    async def _handshake(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._wire.handshake(accepting_any())
        except (TimeoutError, ConnectionError, EOFError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.close()
            raise TLSUnusable("ctrl.tls_unusable", permanent=True) from None
        except (OSError, ValueError) as error:
            self.close()
            reason = getattr(error, "reason", None) or str(error)
            raise CtrlError("ctrl.tls_failed", {"reason": shown(str(reason))}) from None
        self.encrypted = True
        assert self._wire.tls is not None  # noqa: S101  since there was a handshake
        certificate = self._wire.tls.getpeercert(binary_form=True)
        self.sha256 = hashlib.sha256(certificate).hexdigest() if certificate else ""

    async def _ask(self, data: bytes) -> Reply:
        async def ask() -> Reply:
            self._wire.send(data)
            return await self._reply()

        return await self._in_time(ask())

    async def _in_time(self, step: Coroutine[Any, Any, T]) -> T:
        """One step of the dialogue in its time.

        Whatever breaks it, other than XMail's orderly refusal, ends the session: an answer that
        is still to come must not be taken for that to the next command.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await step
        except Refused:
            raise
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                seconds = round(self._timeout_s)
                raise CtrlError("ctrl.silent", {"seconds": seconds}) from None
            if isinstance(error, OSError | EOFError):
                raise CtrlError("ctrl.lost") from None
            raise

    async def _reply(self, *, greeting: bool = False) -> Reply:
        text = (await self._wire.line(MAX_LINE)).decode("utf-8", "replace")
        found = _REPLY.match(text)
        if not found:
            # Later on it may be a line of a file that a broken XMail sends: of a key, even.
            told = shown(text) if greeting else "…"
            raise CtrlError("ctrl.not_xmail", {"reply": told}, permanent=greeting)
        return Reply(found[1] == "+", int(found[2]), text)

    async def _list(self, missing: int = NO_SUCH_FILE) -> bytes | None:
        """The lines of an answer, with LF ends; None if it is the number of what is missing."""
        reply = await self._reply()
        if reply.number == missing and not reply.good:
            return None
        if not (reply.good and reply.number == LIST_FOLLOWS):
            raise reply.refused()
        lines = b"\n" + await self._wire.block()
        return lines.replace(b"\r\n", b"\n").replace(b"\n.", b"\n")[1:]

    async def _list_or_refusal(self) -> bytes | Refused | None:
        """One of several answers: the others are read before a refusal is raised."""
        try:
            return await self._list()
        except Refused as refused:
            return refused

    async def _put(self, path: str, data: bytes) -> None:
        self._wire.send(command("cfgfileset", path))
        reply = await self._reply()
        if not (reply.good and reply.number == SEND_DATA):
            raise reply.refused()
        self._wire.send(as_lines(data))
        await self._stored()

    async def _taken(self) -> None:
        """The two answers to an upload that did not wait for the first of them."""
        reply = await self._reply()
        if not (reply.good and reply.number == SEND_DATA):
            await self._catch_up()
            raise reply.refused()
        await self._stored()

    async def _stored(self) -> None:
        reply = await self._reply()
        if not reply.good:
            await self._catch_up()
            raise reply.refused()

    async def _catch_up(self) -> None:
        """Go on after a refused upload, of whose data XMail may have taken any for commands.

        Whatever it says to those, and to what was sent after them, the answer to a path that is
        none is another. In the midst of a switch there may be no second session.
        """
        try:
            self._wire.send(command("cfgfileget", "../x"))
            while (reply := await self._reply()).number != BAD_PATH:
                if reply.good and reply.number == LIST_FOLLOWS:
                    await self._wire.block()
        except (OSError, EOFError, CtrlError):
            self.close()  # and the refusal is what is told


def checked(field: str) -> str:
    """The text, if it can stand between quotes in a command; CtrlError if it would be another."""
    if _FORBIDDEN.search(field):
        raise CtrlError("ctrl.bad_field", {"field": repr(field)}, permanent=True)
    return field


@functools.lru_cache(maxsize=100)  # hundreds of hosts are asked for the same few paths
def command(name: str, *arguments: str) -> bytes:
    """A command line: the name and its arguments quoted and TAB separated."""
    return ("\t".join(f'"{checked(word)}"' for word in (name, *arguments)) + "\r\n").encode()


def _upload(path: str, data: bytes) -> bytes:
    """The command and its data, for an XMail that need not ask for the data."""
    return command("cfgfileset", path) + as_lines(data)


def _fits(path: str, data: bytes) -> bool:
    return len(_upload(path, data)) <= ONE_RECORD
