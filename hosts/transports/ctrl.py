"""XMail's own administration protocol: works on every XMail, with nothing installed on the host.

It has no rename and no chmod, and on a full disk it answers OK while the file is gone. Hence the
order of `replace_all`: a harmless scratch file of the key's size is written, read back and deleted
first; then the key and, only when that is known to be there, the certificate. What is lost all the
same is written back in the session that is still open. A session that breaks between the two files
can be finished with the certificate, which is public, over a connection in clear. Whoever is in
between can relay that login and be an administrator of this XMail: `clear_recovery` forbids it.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from certs.certificate_file import is_private
from hosts import addresses
from hosts.ctrl import (
    CLEAR_PORT,
    NOT_CREATED,
    NOT_WRITTEN,
    TIMEOUT_S,
    TLS_PORT,
    CtrlError,
    Refused,
    Session,
    TLSUnusable,
)
from hosts.ctrl_text import canonical
from hosts.messages import Message, Param
from hosts.transports.base import (
    MOST_NAMES,
    ChannelUnusable,
    File,
    FileInfo,
    Listing,
    Ready,
    Target,
    Transport,
    TransportError,
    check_path,
    normal_fingerprint,
    too_many,
)

SCRATCH = "server.scratch"
PUBLIC = "server.cert"


class CtrlTransport(Transport):
    """Files below MailRoot through CTRL; `port` 6018 is TLS at once, any other one takes #!TLS."""

    sets_mode = False
    atomic: ClassVar[bool] = False
    identity_is_pair: ClassVar[bool] = True
    timeout_s = TIMEOUT_S
    room_tries = 8  # a second apart, for room on a full disk

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.port = target.port or CLEAR_PORT
        self._session: Session | None = None
        self._turn = asyncio.Lock()
        self._held: dict[str, bytes | None] = {}
        self._wrote = False  # in the session that is open

    async def connect(self) -> None:
        ip = await self.locate(self.target.address)
        pinned = normal_fingerprint(self.target.trust_fingerprint)
        # On this machine, too, a host that was known gets nothing from whoever says it has no TLS.
        may_be_clear = self.target.allow_plain_key or (self._is_this_machine(ip) and not pinned)
        if not pinned and not may_be_clear:
            raise TransportError(Message("ctrl.no_fingerprint"), permanent=True)
        async with _translated():
            try:
                session = await self._open(ip)
            except (TLSUnusable, CtrlError) as error:
                if not may_be_clear or not _speaks_no_tls(error):
                    raise
                await self.close()
                await self._log_in(await self._open_in_clear(ip))
            else:
                try:
                    await self.close()
                except BaseException:
                    session.close()
                    raise
                self._session = session
                if pinned or not may_be_clear:
                    session.check_identity({pinned, *self.also_trusted} - {""})
                await self._log_in(session)
        self.confidential = True

    def _is_this_machine(self, ip: str) -> bool:
        """True if it was registered as such: what other names resolve to, others may decide."""
        return addresses.is_loopback(ip) and self.target.address.lower() in {ip, "localhost"}

    async def connect_in_clear(self, *, ready: Ready | None = None) -> None:
        ip = await self.locate(self.target.address)
        allowed = self.target.allow_plain_key or self.target.clear_recovery
        if not allowed and not self._is_this_machine(ip):
            raise TransportError(Message("ctrl.no_clear_recovery"), permanent=True)
        async with _translated():
            session = await self._open_in_clear(ip)
            try:
                if ready is not None:
                    await ready()
            except BaseException:
                session.close()
                raise
            await self._log_in(session)
        self.confidential = False

    async def close(self) -> None:
        session, self._session = self._session, None
        self._held.clear()
        self._wrote = False
        self.confidential = False
        if session is not None:
            session.quit()

    async def scan(self) -> str:
        ip = await self.locate(self.target.address)
        async with _translated():
            session = await self._open(ip)
            session.close()
        return session.sha256

    async def read(self, path: str) -> bytes | None:
        async with self._use(check_path(path)) as session:
            if not self.confidential:  # server.cert may hold a key too
                if await self._size(session, path) is None:
                    return None
                raise TransportError(Message("ctrl.not_in_clear", {"path": path}), permanent=True)
            [data] = await self._get(session, path)
            self._held[path] = data
            return data

    async def read_all(self, paths: Sequence[str]) -> list[bytes | None]:
        if not self.confidential:
            return await super().read_all(paths)
        async with self._use(*map(check_path, paths)) as session:
            found = await self._get(session, *paths)
            self._held.update(zip(paths, found, strict=True))
            return [*found]

    async def info(self, path: str) -> FileInfo | None:
        async with self._use(check_path(path)) as session:
            size = await self._size(session, path)
        return None if size is None else FileInfo(path, size)

    async def list(self, path: str, pattern: str) -> Listing:
        path = "" if path in {"", "."} else check_path(path)
        async with self._use(path or ".") as session:
            found = await session.files(path, pattern, MOST_NAMES + 1)
        if len(found) > MOST_NAMES:
            raise too_many(path or ".")
        return [FileInfo(*each) for each in found]

    async def replace_all(
        self, files: Sequence[File], token: str, *, ready: Ready | None = None
    ) -> None:
        for file in files:
            check_path(file.path)
            if not self.confidential and (file.private or not _is_public(file.path, file.data)):
                message = Message("ctrl.not_in_clear", {"path": file.path})
                raise TransportError(message, permanent=True)
        if not self.confidential:
            return await self._finish(files)
        secrets = [file for file in files if file.private]
        await self._try_scratch(max(files, key=lambda file: len(file.data)))
        before = {file.path: await self._before(file.path) for file in files}
        if ready is not None:
            await ready()
        written: list[str] = []
        for file in files:
            written.append(file.path)
            if not await self._write(file.path, file.data, at_once=bool(secrets)):
                if ready is not None:  # or is it another worker's file that is there?
                    await ready()
                await self._write_back({path: before[path] for path in written})
                message = Message("transport.disk_full", {"path": file.path})
                raise TransportError(message, permanent=True)

    async def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            async with self._use(check_path(path)) as session:
                if await self._size(session, path) is not None:
                    if not self.confidential and posixpath.basename(path) != PUBLIC:
                        message = Message("ctrl.not_in_clear", {"path": path})
                        raise TransportError(message, permanent=True)
                    await session.delete(path)
                self._held[path] = None

    def canonical(self, data: bytes | None) -> bytes | None:
        """XMail stores LF ends, and no file that is empty."""
        return canonical(data) or None if data else None

    # Steps.

    async def _open(self, ip: str) -> Session:
        """A session inside TLS, not logged in yet."""
        tls_at_once = self.port == TLS_PORT
        session = await Session.open(
            ip, self.port, tls_at_once=tls_at_once, timeout_s=self.timeout_s
        )
        try:
            if not tls_at_once:
                await session.start_tls()
        except BaseException:
            session.close()
            raise
        return session

    async def _open_in_clear(self, ip: str) -> Session:
        port = CLEAR_PORT if self.port == TLS_PORT else self.port
        return await Session.open(ip, port, timeout_s=self.timeout_s)

    async def _log_in(self, session: Session) -> None:
        self._session = session
        self.identity = session.sha256
        await session.login(self.target.user, self.target.credential.password)

    async def _get(self, session: Session, *paths: str) -> Sequence[bytes | None]:
        """What is there. A full disk makes XMail give less, and that would be held for it.

        Once this session has written it goes on all the same: it may be the only one there can be.
        """
        try:
            return await (session.get(*paths) if self._wrote else session.get_whole(*paths))
        except Refused as refused:
            if refused.number != NOT_CREATED:
                raise
            params: dict[str, Param] = {"path": ", ".join(paths)}
            raise CtrlError("ctrl.no_copy", params, permanent=True) from None

    async def _size(self, session: Session, path: str) -> int | None:
        directory, _, name = path.rpartition("/")
        found = dict(await session.files(directory, name))
        return found.get(name)

    async def _try_scratch(self, file: File) -> None:
        """Make sure that there is room, and that data may follow a command at once."""
        path = posixpath.join(posixpath.dirname(file.path), SCRATCH)
        data = _scratch(len(file.data))
        async with self._use(path) as session:
            found = await session.try_out(path, data)
        if found != self.canonical(data):
            message = Message("transport.disk_full", {"path": file.path})
            raise TransportError(message, permanent=True)

    async def _finish(self, files: Sequence[File]) -> None:
        """Write what is public in as few messages as can be, for there is no second session.

        There is nothing to lose: what lies there is of no use without the rest.
        """
        for file in files:
            for tries_left in reversed(range(self.room_tries)):
                try:
                    if await self._write(file.path, file.data, at_once=True):
                        break
                except TransportError as error:
                    if error.message.code != "ctrl.not_created" or not tries_left:
                        raise
                if tries_left:
                    await asyncio.sleep(1)
            else:
                raise TransportError(Message("transport.disk_full", {"path": file.path}))

    async def _before(self, path: str) -> bytes | None:
        return self._held[path] if path in self._held else await self.read(path)

    async def _write(self, path: str, data: bytes, *, at_once: bool) -> bool:
        """Write a file and read it back; False if it is not what was written."""
        async with self._use(path) as session:
            self._wrote = True
            self._held.pop(path, None)
            try:
                found = await session.write(path, data, at_once=at_once)
            except Refused as refused:
                if refused.number != NOT_WRITTEN:
                    raise
                found = None  # a full disk, and XMail has deleted the file
            self._held[path] = found
        return found == self.canonical(data)

    async def _write_back(self, before: dict[str, bytes | None]) -> None:
        """Give back what a full disk took, now that this session is the only way to the host.

        It is worth some patience: without a key no other session may bring one.
        """
        for path, data in before.items():
            created = self._held.get(path) is None
            written = bool(data) and await self._write(path, data or b"", at_once=True)
            for _ in range(self.room_tries):
                if written or not data:
                    break
                await asyncio.sleep(1)
                written = await self._write(path, data, at_once=True)
            if written:
                if created and not _is_public(path, data) and self.target.os == "unix":
                    where = {"path": f"{self.target.mailroot}/{path}"}
                    self.notes.append(Message("install.mode_0666", where))
            elif data:
                self.notes.append(Message("ctrl.lost_file", {"path": path}))
            else:
                with suppress(Refused):
                    await self.remove([path])

    @asynccontextmanager
    async def _use(self, *paths: str) -> AsyncIterator[Session]:
        """The session, for one command, or some that are sent together, at a time."""
        async with self._turn, _translated(", ".join(paths)):
            if self._session is None:
                raise CtrlError("ctrl.lost")
            yield self._session


@asynccontextmanager
async def _translated(path: str = "") -> AsyncIterator[None]:
    """Errors of the protocol as errors of a transport."""
    try:
        yield
    except TLSUnusable as error:
        raise ChannelUnusable(error.message, permanent=error.permanent) from None
    except Refused as error:
        message = error.message
        if error.number == NOT_CREATED:
            message = Message("ctrl.not_created", {"path": path})
        elif error.number == NOT_WRITTEN:
            message = Message("transport.disk_full", {"path": path})
        raise TransportError(message, permanent=True) from None
    except CtrlError as error:
        raise TransportError(error.message, permanent=error.permanent) from None


def _speaks_no_tls(error: CtrlError) -> bool:
    return isinstance(error, TLSUnusable) or error.message.code == "ctrl.tls_off"


def _is_public(path: str, data: bytes | None) -> bool:
    return posixpath.basename(path) == PUBLIC and not is_private(data or b"")


def _scratch(size: int) -> bytes:
    """Harmless lines, as many bytes as the key has."""
    whole, rest = divmod(size, 64)
    return (b"#" * 63 + b"\n") * whole + (b"#" * (rest - 1) + b"\n" if rest else b"")
