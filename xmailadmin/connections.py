"""The connections of the web server: so many and no more, and none that waits for ever."""

from __future__ import annotations

import asyncio
import socket
import weakref
from asyncio import sslproto
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HANDSHAKE_S", "MOST", "MOST_SERVED", "Connection", "Listener"]

MOST_SERVED = 400  # fewer than the files that a process may open: the work on the hosts goes on
MOST = MOST_SERVED + 20  # those above MOST_SERVED are answered with 503, any more are closed
HANDSHAKE_S = 10.0
UNREAD_S = 60.0  # for which a client may take nothing of an answer
# Within which a request must have come: its head, and then its body.
PATIENCE_S = {h11.IDLE: 10.0, h11.SEND_BODY: 60.0}
# OpenSSL works through everything that it is given in one go: it is given this much, and may
# make nothing of so much in a row (a client may send TLS messages without end, and no request).
MOST_IN_VAIN = 64 * 1024
_sslproto: Any = sslproto
_sslproto.SSLProtocol.max_size = 16 * 1024


class Listener(socket.socket):
    """Accepts no more than MOST connections at once, whether or not anything is sent by them.

    One whose client takes nothing of what it is sent is ended by the kernel, where that can do it.
    """

    def __init__(self, family: int, kind: int) -> None:
        super().__init__(family, kind)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit it
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if sum(each.fileno() >= 0 for each in self._open) >= MOST:
            connection.close()
            raise ConnectionAbortedError  # which the event loop passes over
        self._open.add(connection)
        return connection, address


class Connection(H11Protocol):
    """uvicorn's, which itself waits for a request without a limit."""

    _timer: asyncio.TimerHandle | None = None
    _waits_for: Any = None
    _in_vain = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        tls: Any = getattr(transport, "_ssl_protocol", None)
        if tls is not None:
            transport.set_read_buffer_limits(MOST_IN_VAIN)  # type: ignore[attr-defined]
            tls.buffer_updated = self._counted(tls.buffer_updated)

    def data_received(self, data: bytes) -> None:
        self._in_vain = 0
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Sets a time for what is missing of a request; it does not begin anew with each byte."""
        state = self.conn.their_state
        if state is self._waits_for:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waits_for = state
        if state in PATIENCE_S:
            self._timer = self.loop.call_later(PATIENCE_S[state], self.transport.abort)

    def _counted(self, take: Any) -> Any:
        def counting(length: int) -> None:
            if self.transport.is_reading():  # else it is kept until the body so far is taken
                self._in_vain += length
            take(length)  # which sets it to nothing if there is data in it
            if self._in_vain > MOST_IN_VAIN:
                self.transport.abort()

        return counting
