"""A mail server on loopback that speaks like XMail, to see what a client does with a certificate.

It knows one account and one message. A door is one listening port for one run of one client; what
the client achieved inside TLS is read from the door, not from what the client says of itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from certs.lab.dialogue import Session, pop3, smtp

__all__ = ["Door", "Endpoint"]

LOOPBACK = "127.0.0.1"
STEP_S = 20.0


@dataclass
class Door:
    """One open port. `achieved` collects "greeted", "signed in" and "mail", all inside TLS."""

    port: int
    achieved: set[str] = field(default_factory=set)
    busy: int = 0  # connections that are open


class Endpoint:
    """A context manager that serves one pair until it is left.

    With `seclevel1` a key is loaded that OpenSSL refuses by default. A pair that cannot be loaded
    is not an error: like XMail, the endpoint then drops the connection where TLS would begin.
    """

    def __init__(self, key_pem: bytes, certificate_pem: bytes, *, seclevel1: bool = False) -> None:
        self._context = _context(key_pem, certificate_pem, seclevel1=seclevel1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lab", daemon=True)

    @property
    def usable(self) -> bool:
        """False if the pair could not be loaded."""
        return self._context is not None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(_cancel_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextlib.contextmanager
    def door(self, protocol: str, *, implicit: bool) -> Iterator[Door]:
        """Opens a port for `protocol`, with TLS from the first byte or by STARTTLS/STLS."""
        door = Door(0)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            session = Session(reader, writer, self._context, door.achieved, STEP_S, tls=implicit)
            door.busy += 1
            try:
                if implicit and self._context is None:
                    await session.start_tls()  # drops the connection
                await (smtp if protocol == "SMTP" else pop3)(session)
            except (OSError, EOFError, TimeoutError, ssl.SSLError, ValueError):
                pass  # the client went away, or would not have our certificate
            finally:
                door.busy -= 1
                session.close()

        async def listen() -> asyncio.Server:
            context = self._context if implicit else None
            timeout = STEP_S if context is not None else None
            return await self._loop.create_server(
                lambda: _Protocol(asyncio.StreamReader(), serve),
                LOOPBACK,
                0,
                ssl=context,
                ssl_handshake_timeout=timeout,
            )

        server: asyncio.Server = self._call(listen())
        door.port = server.sockets[0].getsockname()[1]
        try:
            yield door
        finally:
            self._loop.call_soon_threadsafe(server.close)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STEP_S)


class _Protocol(asyncio.StreamReaderProtocol):
    """Ends with the client's end, which during a STARTTLS handshake is logged as odd otherwise."""

    def eof_received(self) -> bool:
        super().eof_received()
        return False


def _no_password() -> str:
    """Answers OpenSSL, which would ask on the terminal for the passphrase of an encrypted key."""
    return ""


async def _cancel_the_rest() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _context(key_pem: bytes, certificate_pem: bytes, *, seclevel1: bool) -> ssl.SSLContext | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if seclevel1:
        context.set_ciphers("DEFAULT@SECLEVEL=1")
    with _without_name(key_pem) as key, _without_name(certificate_pem) as certificate:
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError:
            return None
    return context


@contextlib.contextmanager
def _without_name(content: bytes) -> Iterator[str]:
    """Yields a path to the content, which stays behind nowhere, even if this process is killed.

    Where the system can (Linux), it is in memory only.
    """
    in_memory = hasattr(os, "memfd_create")
    with open(os.memfd_create("pair"), "w+b") if in_memory else tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"
