"""One step of SFTP: its time, and its errors as errors of a transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncssh
from asyncssh import SFTPAttrs

from hosts.messages import Message, Param
from hosts.transports.base import TransportError
from hosts.transports.ssh import NONSENSE, nonsense

__all__ = ["MISSING", "sameness", "step", "unless_missing"]

STEP_TIMEOUT_S = 10.0
MISSING = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)

T = TypeVar("T")


async def unless_missing(answer: Awaitable[T]) -> T | None:
    """What is answered; None where the server has no such file."""
    try:
        return await answer
    except MISSING:
        return None


def sameness(found: SFTPAttrs) -> tuple[int | None, ...]:
    """What two files do not have in common unless whoever owns one of them sees to it."""
    return found.uid, found.gid, found.size, found.mtime


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (asyncssh.SFTPPermissionDenied, "transport.denied"),
    (asyncssh.SFTPNoSpaceOnFilesystem, "transport.disk_full"),
    (asyncssh.SFTPQuotaExceeded, "transport.quota"),
    (asyncssh.SFTPWriteProtect, "transport.read_only"),
)


@asynccontextmanager
async def step(path: str) -> AsyncIterator[None]:
    """One step in its time; errors of SFTP and SSH as errors of a transport."""
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            yield
    except asyncssh.SFTPError as error:
        if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection):
            raise TransportError(Message("sftp.lost")) from None
        for kind, code in _CAUSES:
            if isinstance(error, kind):
                raise TransportError(Message(code, {"path": path}), permanent=True) from None
        params: dict[str, Param] = {"path": path, "reason": str(error.reason)[:120]}
        raise TransportError(Message("sftp.failure", params)) from None
    except NONSENSE as error:
        raise nonsense(error) from None
    except TimeoutError:
        raise TransportError(Message("sftp.silent", {"seconds": round(STEP_TIMEOUT_S)})) from None
    except (asyncssh.Error, OSError):
        raise TransportError(Message("sftp.lost")) from None
