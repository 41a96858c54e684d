"""Refuses what cannot be read before it is: too large, or in another encoding than UTF-8.

Django would keep a whole body on disk first; and an encoding that it cannot use, it would meet
again while it makes the page that says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.utils.http import parse_header_parameters

__all__ = ["MOST", "Bounded"]

TOO_LARGE = b"This request is too large.\n"
MOST = 1024 * 1024  # bytes; settings.DATA_UPLOAD_MAX_MEMORY_SIZE is the same

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _TooLargeError(Exception):
    pass


class Bounded:
    """An ASGI application that answers 413 to bodies over MOST, 415 to those that are not UTF-8,
    and passes on all others."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, answered = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MOST:
                raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        if not _is_utf8(scope):
            await _refuse(send, 415, b"This portal reads UTF-8 only.\n")
            return
        if _announced(scope) > MOST:
            await _refuse(send, 413, TOO_LARGE)
            return
        try:
            await self._app(scope, counted, noted)
        except _TooLargeError:
            if not answered:
                await _refuse(send, 413, TOO_LARGE)


def _announced(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


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
