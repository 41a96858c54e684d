"""What the endpoint says: SMTP and POP3 as XMail 1.27 speaks them, for one account."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Awaitable, Callable

__all__ = ["MESSAGE", "PASSWORD", "USER", "Session", "pop3", "smtp"]

USER, PASSWORD = "lab@compat.test", "a-lab-password"  # opens nothing but the lab
STAMP = "<1795490598.139634998757056@compat.test>"
MESSAGE = (
    b"From: lab@compat.test\r\nTo: lab@compat.test\r\nSubject: client lab\r\n"
    b"Date: Tue, 24 Nov 2026 03:23:18 +0000\r\nMessage-ID: <1@compat.test>\r\n\r\nOne line.\r\n"
)


class Session:
    """One connection: whole lines, and TLS when it is asked for."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext | None,
        achieved: set[str],
        step_s: float,
        *,
        tls: bool,
    ) -> None:
        self.reader, self.writer, self.step_s, self.tls = reader, writer, step_s, tls
        self._context, self._achieved = context, achieved

    async def line(self) -> str:
        """Returns the next line. Raises EOFError when the client has gone."""
        async with asyncio.timeout(self.step_s):
            raw = await self.reader.readline()
        if not raw.endswith(b"\n"):
            raise EOFError
        return raw.rstrip(b"\r\n").decode("latin-1")

    async def send(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode("latin-1"))
        async with asyncio.timeout(self.step_s):
            await self.writer.drain()

    async def start_tls(self) -> None:
        """Begins TLS, or drops the connection as XMail does with a pair that it cannot load."""
        if self._context is None:
            self.writer.transport.abort()
            raise EOFError
        # Nothing may let the loop turn between the invitation and this: it would read the client's
        # first TLS bytes as a line.
        async with asyncio.timeout(self.step_s):
            await self.writer.start_tls(self._context)
        self.tls = True

    def achieve(self, what: str) -> None:
        """Counts only inside TLS."""
        if self.tls:
            self._achieved.add(what)

    def close(self) -> None:
        self.writer.close()


# --- SMTP -------------------------------------------------------------------------------------


async def smtp(session: Session) -> None:
    """One SMTP session to its end."""
    await session.send(f"220 compat.test {STAMP} [XMail 1.27 ESMTP Server] service ready")
    while True:
        line = await session.line()
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "EHLO" | "HELO":
                session.achieve("greeted")
                await session.send(*_ehlo(session))
            case "STARTTLS" if not session.tls:
                await session.send("220 Ready to start TLS")
                await session.start_tls()
            case "AUTH":
                await _smtp_auth(session, rest)
            case "MAIL" | "RCPT" | "RSET" | "NOOP":
                await session.send("250 OK")
            case "DATA":
                await session.send("354 Start mail input; end with <CRLF>.<CRLF>")
                while await session.line() != ".":
                    pass
                session.achieve("mail")
                await session.send("250 OK")
            case "QUIT":
                await session.send("221 [XMail 1.27 ESMTP Server] service closing")
                return
            case _:
                await session.send("500 Syntax error, command unrecognized")


def _ehlo(session: Session) -> list[str]:
    words = ["compat.test", "8BITMIME", "PIPELINING", "AUTH LOGIN PLAIN CRAM-MD5", "SIZE"]
    words += [] if session.tls else ["STARTTLS"]
    return [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]


async def _smtp_auth(session: Session, rest: str) -> None:
    method, _, first = rest.partition(" ")
    methods: dict[str, Callable[[Session, str], Awaitable[bool]]] = {
        "PLAIN": _plain,
        "LOGIN": _login,
        "CRAM-MD5": _cram_md5,
    }
    check = methods.get(method.upper())
    if check is None:
        await session.send("504 Unknown authentication")
    elif method.upper() == "PLAIN" and not first:
        await session.send("501 Syntax error in parameters or arguments")  # measured on XMail
    elif await check(session, first):
        session.achieve("signed in")
        await session.send("235 Authentication successful")
    else:
        await session.send("503 Authentication failed")


async def _plain(session: Session, first: str) -> bool:
    return _decoded(first).split("\0")[1:] == [USER, PASSWORD]


async def _login(session: Session, first: str) -> bool:
    user = _decoded(first or await _asked(session, "Username:"))
    return user == USER and _decoded(await _asked(session, "Password:")) == PASSWORD


async def _cram_md5(session: Session, first: str) -> bool:
    digest = hmac.new(PASSWORD.encode(), STAMP.encode(), "md5").hexdigest()
    return _decoded(await _asked(session, STAMP)) == f"{USER} {digest}"


async def _asked(session: Session, question: str) -> str:
    await session.send(f"334 {base64.b64encode(question.encode()).decode()}")
    return await session.line()


def _decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


# --- POP3 -------------------------------------------------------------------------------------


async def pop3(session: Session) -> None:
    """One POP3 session to its end."""
    await session.send(f"+OK {STAMP} [XMail 1.27 POP3 Server] service ready")
    user, inside = "", False
    while True:
        line = await session.line()
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "CAPA":
                session.achieve("greeted")
                stls = [] if session.tls else ["STLS"]
                words = ["TOP", "USER", "UIDL", "PIPELINING", *stls]
                await session.send("+OK Capability list follows", *words, ".")
            case "STLS" if not session.tls:
                await session.send("+OK Begin TLS negotiation")
                await session.start_tls()
            case "USER":
                user = rest
                await session.send("+OK Password required")
            case "PASS" | "APOP":
                given = [user, rest] if verb.upper() == "PASS" else rest.split(" ")
                secret = PASSWORD if verb.upper() == "PASS" else _apop()
                if inside := given == [USER, secret]:
                    session.achieve("signed in")
                await session.send("+OK Maildrop has 1 messages" if inside else "-ERR Invalid auth")
            case "QUIT":
                await session.send("+OK [XMail 1.27 POP3 Server] closing session")
                return
            case _ if inside:
                await _maildrop(session, verb.upper(), rest)
            case _:
                await session.send("-ERR Invalid command")


def _apop() -> str:
    text = f"{STAMP}{PASSWORD}".encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


async def _maildrop(session: Session, verb: str, rest: str) -> None:
    """The commands of somebody who is signed in; the one message is number 1."""
    size = len(MESSAGE)
    lists = {"LIST": f"1 {size}", "UIDL": "1 client-lab-1"}
    if verb == "STAT":
        await session.send(f"+OK 1 {size}")
    elif verb in lists and rest:
        await session.send(f"+OK {lists[verb]}" if rest == "1" else "-ERR No such message")
    elif verb in lists:
        await session.send("+OK", lists[verb], ".")
    elif verb in ("RETR", "TOP") and rest.split(" ")[0] == "1":
        session.achieve("mail")
        await session.send(f"+OK {size} bytes", *MESSAGE.decode().splitlines(), ".")
    elif verb in ("DELE", "NOOP", "RSET"):
        await session.send("+OK")
    else:
        await session.send("-ERR Invalid command")
