"""Kills or stops the process that imports it at a chosen moment of an installation.

The product knows nothing of this: the functions at the seven boundaries are wrapped here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hosts import fan_out, ledger, proof
from hosts.install import _Run as Install
from hosts.messages import Message
from hosts.transports import REGISTRY, CtrlTransport, SFTPTransport, TransportError

BOUNDARIES = ("claim", "adopt", "stage", "switch", "read back", "verify", "record")
POINTS = tuple(f"{when} {what}" for what in BOUNDARIES for when in ("before", "after"))
AMID = "amid switch"
_recording = threading.RLock()
#: The error of the operating system, and what a person is told.
REFUSALS = {
    "EACCES": "transport.denied",
    "EDQUOT": "transport.quota",
    "ENOSPC": "transport.disk_full",
    "EROFS": "transport.read_only",
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "short": lambda data: data[:-20],
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "changed": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
}


@dataclass
class Trap:
    """Springs when `point` is passed for the `number`th time."""

    point: str
    number: int = 1
    #: or "stop" (until somebody sends SIGCONT), "pause" for so many seconds, one of REFUSALS (so
    #: many times, in the midst of the switch) or of DAMAGES (before the files are read back).
    do: str = "kill"
    seconds: float = 0.0
    passed: int = 0

    def at(self, point: str) -> None:
        """To be called at every point."""
        if point != self.point:
            return
        self.passed += 1
        if self.passed != self.number or self.do in REFUSALS or self.do in DAMAGES:
            return
        if self.do == "pause":
            time.sleep(self.seconds)
        else:
            self._end(signal.SIGKILL if self.do == "kill" else signal.SIGSTOP)

    @property
    def refuses(self) -> bool:
        """Whether it still refuses."""
        return bool(self.do in REFUSALS and self.passed <= self.number)

    def _end(self, number: int) -> None:
        # Whoever is stopped inside a transaction of SQLite's stops every other writer too.
        with _recording if number == signal.SIGSTOP else contextlib.nullcontext():
            os.kill(os.getpid(), number)


def set_trap(trap: Trap) -> None:
    """Wrap whatever may pass its point; once in a process."""
    _around(ledger, "_claim", trap, "claim")
    _around_async(fan_out.Journal, "adopt", trap, "adopt")
    _around_async(proof.Proof, "look", trap, "verify")
    for kind in REGISTRY.values():
        _around_replacing(kind, trap)
    _between_files(trap)

    install: Any = Install
    journal: Any = fan_out.Journal
    prove, step = install._prove, journal.step

    async def _prove(self: Any, **options: Any) -> Any:
        trap.at("before read back")
        if trap.do in DAMAGES and trap.passed <= trap.number:
            damage(Path(self.transport.target.mailroot), trap.do)
        return await prove(self, **options)

    async def _step(self: Any, name: str, message: Any) -> None:
        if name == "VERIFY":
            trap.at("after read back")
        await step(self, name, message)

    install._prove, journal.step = _prove, _step
    run: Any = ledger._Run
    record_batch = run._record_batch

    def _record_batch(self: Any, batch: Any, **options: Any) -> None:
        done = [entry for entry in batch if entry.what == "done"]
        for _ in done:
            trap.at("before record")
        with _recording:
            record_batch(self, batch, **options)
        for _ in done:
            trap.at("after record")

    run._record_batch = _record_batch


def _around(owner: Any, name: str, trap: Trap, what: str) -> None:
    function = getattr(owner, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        trap.at(f"before {what}")
        result = function(*args, **options)
        trap.at(f"after {what}")
        return result

    setattr(owner, name, wrapped)


def _around_async(owner: Any, name: str, trap: Trap, what: str) -> None:
    function = getattr(owner, name)

    async def wrapped(*args: Any, **options: Any) -> Any:
        trap.at(f"before {what}")
        result = await function(*args, **options)
        trap.at(f"after {what}")
        return result

    setattr(owner, name, wrapped)


def _around_replacing(kind: Any, trap: Trap) -> None:
    replace_all = kind.replace_all

    async def wrapped(
        self: Any, files: Any, token: str, *, ready: Callable[[], Any] | None = None
    ) -> None:
        if ready is None:
            await replace_all(self, files, token)
            return

        async def when_staged() -> None:
            trap.at("after stage")
            await ready()
            trap.at("before switch")

        trap.at("before stage")
        await replace_all(self, files, token, ready=when_staged)
        trap.at("after switch")

    kind.replace_all = wrapped


def _between_files(trap: Trap) -> None:
    """The moment when the key is the new one and the certificate is not."""
    system: Any = os
    sftp: Any = SFTPTransport
    ctrl: Any = CtrlTransport
    replace, sftp_replace, ctrl_write = system.replace, sftp._replace, ctrl._write

    def _replace(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith("server.cert"):
            trap.at(AMID)
            if trap.refuses:
                raise OSError(getattr(errno, trap.do), "refused on purpose")
        replace(source, target, **options)

    async def _sftp_replace(self: Any, staging: str, path: str) -> None:
        if path.endswith("server.cert") and trap.refuses:
            trap.at(AMID)
            raise TransportError(Message(REFUSALS[trap.do], {"path": path}), permanent=True)
        await sftp_replace(self, staging, path)
        trap.at(AMID)

    async def _ctrl_write(self: Any, path: str, data: bytes, **options: Any) -> bool:
        if path.endswith("server.cert"):
            trap.at(AMID)
        return bool(await ctrl_write(self, path, data, **options))

    system.replace, sftp._replace, ctrl._write = _replace, _sftp_replace, _ctrl_write


def damage(mailroot: Path, how: str) -> None:
    """What another program, or a bad disk, does to the files just written."""
    for name in ("server.key", "server.cert"):
        path = mailroot / name
        data = path.read_bytes()
        mode = path.stat().st_mode
        path.write_bytes(DAMAGES[how](data))
        path.chmod(mode)


__all__ = ["AMID", "BOUNDARIES", "POINTS", "Trap", "set_trap"]
