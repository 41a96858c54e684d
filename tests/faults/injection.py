"""Kills or stops the process that imports it at a chosen moment of an installation.

The product knows nothing of this: the functions at the seven boundaries are wrapped here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hosts import fan_out, ledger, proof
from hosts.install import _Run as Install
from hosts.transports import REGISTRY, CtrlTransport, SFTPTransport
from hosts.transports import local as local_module

BOUNDARIES = ("claim", "adopt", "stage", "switch", "read back", "verify", "record")
POINTS = tuple(f"{when} {what}" for what in BOUNDARIES for when in ("before", "after"))
AMID = "amid switch"
_recording = threading.RLock()


@dataclass
class Trap:
    """Springs when `point` is passed for the `number`th time."""

    point: str
    number: int = 1
    do: str = "kill"  # or "stop" (until somebody sends SIGCONT), or "pause" for so many seconds
    seconds: float = 0.0
    passed: int = 0

    def at(self, point: str) -> None:
        """To be called at every point."""
        if point != self.point:
            return
        self.passed += 1
        if self.passed != self.number:
            return
        if self.do == "pause":
            time.sleep(self.seconds)
        else:
            self._end(signal.SIGKILL if self.do == "kill" else signal.SIGSTOP)

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

    prove, step = Install._prove, fan_out.Journal.step

    async def _prove(self: Any, **options: Any) -> Any:
        trap.at("before read back")
        return await prove(self, **options)

    async def _step(self: Any, name: str, message: Any) -> None:
        if name == "VERIFY":
            trap.at("after read back")
        await step(self, name, message)

    Install._prove = _prove  # type: ignore[method-assign]
    fan_out.Journal.step = _step  # type: ignore[method-assign]

    record_batch = ledger._Run._record_batch

    def _record_batch(self: Any, batch: Any, **options: Any) -> None:
        done = [entry for entry in batch if entry.what == "done"]
        for _ in done:
            trap.at("before record")
        with _recording:
            record_batch(self, batch, **options)
        for _ in done:
            trap.at("after record")

    ledger._Run._record_batch = _record_batch  # type: ignore[method-assign]


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
            return await replace_all(self, files, token)

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
    replace = os.replace

    def _replace(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith("server.cert"):
            trap.at(AMID)
        replace(source, target, **options)

    local_module.os.replace = _replace
    sftp_replace, ctrl_write = SFTPTransport._replace, CtrlTransport._write

    async def _sftp_replace(self: Any, staging: str, path: str) -> None:
        await sftp_replace(self, staging, path)
        trap.at(AMID)

    async def _ctrl_write(self: Any, path: str, data: bytes, **options: Any) -> bool:
        if path.endswith("server.cert"):
            trap.at(AMID)
        return await ctrl_write(self, path, data, **options)

    SFTPTransport._replace = _sftp_replace  # type: ignore[method-assign]
    CtrlTransport._write = _ctrl_write  # type: ignore[method-assign]


__all__ = ["AMID", "BOUNDARIES", "POINTS", "Trap", "set_trap"]
