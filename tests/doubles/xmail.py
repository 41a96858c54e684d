"""A stand-in for XMail 1.27 on real sockets of 127.0.0.1, as strict as docs/xmail.md.

    with XMail(make_mailroot(tmp_path, key=..., certificate=...)) as xmail:
        xmail.ports["smtp"], xmail.user, xmail.password, xmail.seen, xmail.faults

Everything it needs is read from its MailRoot at the moment it needs it: the pair at every TLS
handshake, server.tab and ctrlaccounts.tab for every session.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.doubles import dialogues
from tests.doubles.mailroot import PASSWORD, USER
from tests.doubles.wire import Faults, Gone, Seen, Wire

ADDRESS = "127.0.0.1"
SERVICES = ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrl", "ctrls")
_DIALOGUES: dict[str, tuple[Callable[[Wire], None], bool]] = {  # and: TLS from the first byte
    "smtp": (dialogues.smtp, False),
    "submission": (dialogues.smtp, False),
    "smtps": (dialogues.smtp, True),
    "pop3": (dialogues.pop3, False),
    "pop3s": (dialogues.pop3, True),
    "ctrl": (dialogues.ctrl, False),
    "ctrls": (dialogues.ctrl, True),
}


class XMail:
    """A running server; a context manager. One thread accepts, one serves each connection."""

    def __init__(
        self,
        mailroot: Path,
        *,
        user: str = USER,
        password: str = PASSWORD,
        services: Sequence[str] = SERVICES,
        refused: Sequence[str] = (),
        faults: Faults | None = None,
    ) -> None:
        self.mailroot = mailroot
        self.address = ADDRESS
        self.user = user
        self.password = password
        self.faults = faults or Faults()
        self.seen = Seen()
        self.ports: dict[str, int] = {}
        self._services = tuple(services)
        self._refused = set(refused)
        self._listeners: dict[str, socket.socket] = {}
        self._live: set[Wire] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept_all, name="xmail-double", daemon=True)

    def __enter__(self) -> Self:
        for service in self._services:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((ADDRESS, 0))
            self.ports[service] = listener.getsockname()[1]
            self._listeners[service] = listener
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ, "")
        for service in self._services:
            if service not in self._refused:
                self._open(service)
        self._acceptor.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping = True
        self._wake.send(b"x")
        self._acceptor.join()
        self.disconnect()
        for thread in list(self._threads):
            thread.join(5)
        for sock in (*self._listeners.values(), self._wake, self._woken):
            sock.close()
        self._selector.close()

    def refuse(self, service: str) -> None:
        """From now on connections to this service are refused; its port stays taken."""
        listener = self._listeners[service]
        self._selector.unregister(listener)
        self._wake.send(b"x")
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        closed = socket.socket()
        closed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        closed.bind((ADDRESS, self.ports[service]))
        self._listeners[service] = closed

    def allow(self, service: str) -> None:
        """Undoes `refuse` (or `refused`)."""
        self._open(service)
        self._wake.send(b"x")

    def disconnect(self) -> None:
        """Breaks every connection there is, as a server that is stopped does."""
        with self._lock:
            live = list(self._live)
        for wire in live:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(wire.sock, socket.SHUT_RDWR)

    def _open(self, service: str) -> None:
        listener = self._listeners[service]
        listener.listen(128)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, service)

    def _accept_all(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if not key.data:
                    self._woken.recv(16)
                    continue
                try:
                    sock, _ = key.fileobj.accept()  # type: ignore[union-attr]
                except OSError:
                    continue  # the client has gone, or the service was just closed
                sock.setblocking(True)
                self._start(sock, key.data)

    def _start(self, sock: socket.socket, service: str) -> None:
        wire = Wire(sock, service, self.mailroot, self.faults, self.seen)
        thread = threading.Thread(target=self._serve, args=(wire,), daemon=True)
        with self._lock:
            self._live.add(wire)
            self._threads.add(thread)
        with self.seen.lock:
            self.seen.connections[service] += 1
        thread.start()

    def _serve(self, wire: Wire) -> None:
        dialogue, tls = _DIALOGUES[wire.service]
        try:
            wire.stage("connect")
            if tls:
                wire.start_tls()
            dialogue(wire)
        except Gone:
            pass
        finally:
            with self._lock:
                self._live.discard(wire)
                self._threads.discard(threading.current_thread())
            wire.sock.close()
