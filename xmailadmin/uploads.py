"""Refuses what cannot be read before it is: too large, in pieces, not UTF-8, or of no known method.

Django would keep a whole body on disk first; and an encoding that it cannot use, it would meet
again while it makes the page that says so. Some headers it reads in a time that grows with the
square of their length, while nothing else of this process runs. A body in chunks may be a million
of them, each of which is taken apart before anything is counted; browsers send none. A method is
any word of any length, which would stand in the log and in the audit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings
from django.utils.http import parse_header_parameters

__all__ = ["MOST", "Bounded"]

TOO_LARGE = b"This request is too large.\n"
NO_LENGTH = b"This portal reads only requests that say how long they are.\n"
TOO_MANY = b"Too much is sent to this portal at once. Please try again.\n"
TOO_LONG = b"The header %b of this request is too long.\n"
NO_METHOD = b"This portal does not take the method of this request.\n"
NO_PATH = b"The target of this request is no path.\n"
METHODS = ("GET", "HEAD", "OPTIONS", "POST")  # views of libraries would take others, too
MOST = 1024 * 1024  # bytes; settings.DATA_UPLOAD_MAX_MEMORY_SIZE is the same
# What is sent is kept in memory until it is whole, and anybody may send it and leave it at that.
SMALL = 64 * 1024  # bytes: without a session there are only the forms to sign in
LARGE_AT_ONCE = 16  # requests of more than that; whether a session is a real one shows only later
# Letters of a header, however often it comes. Browsers send some 150 in the two that are parsed.
PARSED = frozenset({b"accept", b"content-type"})
LONGEST_PARSED, LONGEST = 1000, 8000
ODD = re.compile(rb"[^ -\[\]-~]")  # no printable ASCII, or a backslash
UNLIMITED = frozenset({b"cookie", b"referer"})  # others of the same machine have their part in them

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _TooLargeError(Exception):
    pass


class Bounded:
    """An ASGI application that answers 501 to other METHODS, 400 to what is no path, 431 to headers
    that are too long, 411 to bodies in chunks, 413 to those over MOST, and to those over SMALL
    without a session, 415 to those that are not UTF-8, 503 to large ones beyond LARGE_AT_ONCE, and
    passes on all others, without cookies that nobody here has set."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._large = 0  # in hand

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, answered = 0, False
        large = _announced(scope) > SMALL
        most = MOST if large and _has_session(scope) else SMALL

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        if scope["method"] not in METHODS:
            await _refuse(send, 501, NO_METHOD)
            return
        if not scope["path"].startswith("/"):
            await _refuse(send, 400, NO_PATH)
            return
        if name := _overlong(scope):
            await _refuse(send, 431, TOO_LONG % name)
            return
        if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            await _refuse(send, 411, NO_LENGTH)
            return
        if not _is_utf8(scope):
            await _refuse(send, 415, b"This portal reads UTF-8 only.\n")
            return
        if _announced(scope) > most:
            await _refuse(send, 413, TOO_LARGE)
            return
        if large and self._large >= LARGE_AT_ONCE:
            await _refuse(send, 503, TOO_MANY)
            return
        self._large += large
        try:
            await self._app({**scope, "headers": _without_odd_cookies(scope)}, counted, noted)
        except _TooLargeError:
            if not answered:
                await _refuse(send, 413, TOO_LARGE)
        finally:
            self._large -= large


def _overlong(scope: Scope) -> bytes:
    """The name of a header that is too long to be read; empty without one."""
    lengths: Counter[bytes] = Counter()
    for name, value in scope["headers"]:
        lengths[name] += len(value) + 1
    for name, length in lengths.items():
        if name not in UNLIMITED and length > (LONGEST_PARSED if name in PARSED else LONGEST):
            return name[:40]
    return b""


def _without_odd_cookies(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The headers without cookies that hold what no cookie may (RFC 6265, 4.1.1).

    Python would take escapes out, in a time that grows with the square of their number, and
    make of them what no cookie holds otherwise, and no database takes: NUL. Bytes beyond ASCII and
    control characters around a name count as blanks, so that another host of the domain could set
    what bears the prefix __Host- for us, and not for the browser.
    """
    return [
        (name, b";".join(each for each in value.split(b";") if not ODD.search(each)))
        if name == b"cookie" and ODD.search(value)
        else (name, value)
        for name, value in scope["headers"]
    ]


def _announced(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


def _has_session(scope: Scope) -> bool:
    wanted = settings.SESSION_COOKIE_NAME.encode() + b"="
    return any(
        each.strip().startswith(wanted)
        for name, value in scope["headers"]
        if name == b"cookie"
        for each in value.split(b";")
    )


def _is_utf8(scope: Scope) -> bool:
    told = b",".join(value for name, value in scope["headers"] if name == b"content-type")
    try:
        _, params = parse_header_parameters(told.decode("latin-1"))
    except ValueError:
        return False
    return str(params.get("charset", "utf-8")).lower() == "utf-8"  # all that Django reads


async def _refuse(send: Send, status: int, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
