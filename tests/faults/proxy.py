"""A TCP proxy that cuts a connection, or falls silent, after so many bytes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Self

UP, DOWN = "to the host", "from the host"


@dataclass
class Plan:
    """What happens to the connections through one port; may be changed while it runs."""

    after: int | None = None  # bytes; None: nothing happens
    direction: str = UP
    silent: bool = False  # instead of cutting
    left: int | None = None  # so many connections; None: all of them


@dataclass
class _Link:
    client: socket.socket
    server: socket.socket
    plan: Plan
    passed: dict[str, int] = field(default_factory=lambda: {UP: 0, DOWN: 0})
    mute: bool = False


class Proxy:
    """Ports of 127.0.0.1 that lead to one other port; a context manager, served by one thread."""

    def __init__(self, target: int, count: int) -> None:
        self.target = target
        self.plans = [Plan() for _ in range(count)]
        self.ports: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._stopping = False

    def __enter__(self) -> Self:
        for plan in self.plans:
            listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            listener.setblocking(False)
            self.ports.append(listener.getsockname()[1])
            self._selector.register(listener, selectors.EVENT_READ, plan)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping = True
        self._wake.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            with contextlib.suppress(OSError):
                key.fileobj.close()  # type: ignore[union-attr]
        self._wake.close()
        self._selector.close()

    def clear(self) -> None:
        """Let everything pass from now on; what fell silent is cut."""
        for plan in self.plans:
            plan.after = None

    def _serve(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if isinstance(key.data, Plan):
                    self._accept(key.fileobj, key.data)  # type: ignore[arg-type]
                elif isinstance(key.data, tuple):
                    self._pass_on(*key.data)

    def _accept(self, listener: socket.socket, plan: Plan) -> None:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        link = _Link(client, server, plan)
        self._selector.register(client, selectors.EVENT_READ, (link, UP))
        self._selector.register(server, selectors.EVENT_READ, (link, DOWN))
        if plan.after == 0 and not plan.silent:
            self._strike(link)

    def _pass_on(self, link: _Link, direction: str) -> None:
        source, drain = link.client, link.server
        if direction == DOWN:
            source, drain = drain, source
        if source.fileno() < 0:
            return
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        if not data:
            return self._close(link)
        if link.mute:
            return
        plan = link.plan
        rest = None
        if plan.after is not None and plan.direction == direction and plan.left != 0:
            rest = max(plan.after - link.passed[direction], 0)
        link.passed[direction] += len(data)
        with contextlib.suppress(OSError):
            drain.sendall(data if rest is None else data[:rest])
        if rest is not None and rest <= len(data):
            self._strike(link)

    def _strike(self, link: _Link) -> None:
        if link.plan.left is not None:
            link.plan.left -= 1
        if link.plan.silent:
            link.mute = True
        else:
            self._close(link, reset=True)

    def _close(self, link: _Link, *, reset: bool = False) -> None:
        for sock in (link.client, link.server):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            if reset:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
