"""A MailRoot on another machine, over SSH's file transfer.

The host key is compared with the registered fingerprint before anything is authenticated. Nothing
of the machine that runs the portal takes part: no ~/.ssh, no agent, no known_hosts.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from fnmatch import fnmatchcase
from functools import partial
from typing import ClassVar, cast

import asyncssh
from asyncssh import SFTPAttrs, SFTPName

from hosts.mailroot import sftp_path
from hosts.messages import Message, Param
from hosts.together import together
from hosts.transports import ssh
from hosts.transports.base import (
    MOST_NAMES,
    PRIVATE_MODE,
    PUBLIC_MODE,
    SSLCONF,
    File,
    FileInfo,
    Listing,
    Ready,
    Target,
    Transport,
    TransportError,
    check_path,
    check_token,
    stage_name,
    too_many,
)
from hosts.transports.sftp_steps import MISSING, sameness, step, unless_missing

#: asyncssh works through an answer in one go, and would take 4 MB of it: hundreds of thousands of
#: names. OpenSSH itself sends and takes no more than this.
asyncssh.sftp.MAX_SFTP_PACKET_LEN = 256 * 1024
PRIVATE_DIRECTORY = 0o700
READ_LIMIT = 4 * 1024 * 1024
BLOCK = 16 * 1024
LONGEST_NAME = 255  # letters; no file system has longer ones
#: What runs leave in sslconf, `.old` ones only where the server has no posix-rename.
LEFTOVERS = (".server.*.new", ".server.*.old")

_READ_ONLY_FLAG = 1


class _NoPosixRename(Exception):
    """The server cannot rename a file over another one."""


class SFTPTransport(Transport):
    """Files below MailRoot through an SSH server."""

    atomic: ClassVar[bool] = True
    by_path: ClassVar[bool] = True

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.sets_mode = target.os == "unix"
        self._root = sftp_path(target.mailroot, target.os).rstrip("/")
        self._connections: list[asyncssh.SSHClientConnection] = []
        self._client: asyncssh.SFTPClient | None = None
        self._mailroot: SFTPAttrs | None = None

    async def connect(self) -> None:
        ssh.check_enrolled(self.target)
        self._connections = await ssh.connect(self.target, self.locate)
        self.identity = ssh.identity_of(self._connections[-1])
        try:
            async with step("sftp"):
                self._client = await self._connections[-1].start_sftp_client()
        except TransportError:
            raise TransportError(Message("sftp.no_sftp"), permanent=True) from None
        self.confidential = True

    async def close(self) -> None:
        client, self._client = self._client, None
        connections, self._connections = self._connections, []
        self._mailroot = None
        self.confidential = False
        if client is not None:
            client.exit()
        await ssh.close(connections)

    async def scan(self) -> str:
        return await ssh.scan(self.target, self.locate)

    async def read(self, path: str) -> bytes | None:
        data = bytearray()
        async with self._on(path):
            try:
                async with self._open(self._at(path), asyncssh.FXF_READ) as file:
                    block, _ = await together(file.read(BLOCK, 0), self._check(file, path))
                    while True:
                        data += block
                        if len(block) < BLOCK:  # of a file that means its end
                            break
                        block = await file.read(BLOCK, len(data))
                        if len(data) > READ_LIMIT:
                            message = Message("transport.too_large", {"path": path})
                            raise TransportError(message, permanent=True)
            except MISSING:
                await self._directory()
                return None
        return bytes(data)

    async def info(self, path: str) -> FileInfo | None:
        async with self._on(path):
            found = await unless_missing(self._own(path))
            if found is None:
                await self._directory()
                return None
        return self._file_info(path, found)

    async def list(self, path: str, pattern: str) -> Listing:
        directory = self._root + "/" if path in {"", "."} else self._at(path)
        async with self._on(path):
            found = await unless_missing(self._names(directory, (pattern,)))
            if found is None:
                await self._directory()
                return []
        return [
            self._file_info(name, attributes)
            for name, attributes in sorted(found.items())
            if not stat.S_ISDIR(attributes.permissions or 0)
        ]

    async def replace_all(
        self, files: Sequence[File], token: str, *, ready: Ready | None = None
    ) -> None:
        staged = [(stage_name(check_path(file.path), check_token(token)), file) for file in files]
        await self._prepare_sslconf()
        async with self._undone_on_error(staged):
            await together(*(self._stage(file, staging) for staging, file in staged))
            if ready is not None:
                await ready()
            try:
                # Sent together, so that the server renames one right after the other.
                await together(*(self._replace(staging, file.path) for staging, file in staged))
            except _NoPosixRename:
                await self._replace_in_turn(staged, token)

    async def remove(self, paths: Iterable[str]) -> None:
        await together(*(self._unlink(check_path(path)) for path in paths))

    async def set_mode(self, path: str, mode: int) -> None:
        if not self.sets_mode:
            return await super().set_mode(path, mode)
        async with self._on(path):
            with suppress(*MISSING):
                async with self._open(self._at(path), asyncssh.FXF_READ) as file:
                    await self._check(file, path)
                    await file.setstat(SFTPAttrs(permissions=mode))

    # Steps.

    @property
    def _sftp(self) -> asyncssh.SFTPClient:
        if self._client is None:
            raise TransportError(Message("sftp.lost"))
        return self._client

    async def _directory(self) -> SFTPAttrs:
        """What MailRoot is; raises TransportError unless it is a directory.

        Asked for only where a file is missing: any file that is there shows that MailRoot is.
        """
        if self._mailroot is None:
            found = await unless_missing(self._sftp.stat(self._root or "/"))
            if found is None or not stat.S_ISDIR(found.permissions or 0):
                message = Message("transport.mailroot_missing", {"mailroot": self.target.mailroot})
                raise TransportError(message, permanent=True)
            self._mailroot = found
        return self._mailroot

    def _at(self, path: str) -> str:
        return f"{self._root}/{check_path(path)}"

    async def _own(self, path: str) -> SFTPAttrs:
        """What a file is; TransportError for what is not in MailRoot, or may not be.

        Whoever owns MailRoot would have us read and change what only the user may that we are.
        """
        at, first = self._at(path), self._at(path.partition("/")[0])
        found = await self._sftp.lstat(at)
        if stat.S_ISLNK(found.permissions or 0) or "/" in path:
            real, root, way = await together(
                self._sftp.realpath(at),
                self._sftp.realpath(self._root or "/"),
                self._sftp.lstat(first),
            )
            if not real.startswith(root.rstrip("/") + "/"):
                raise TransportError(
                    Message("transport.link_outside", {"path": path}), permanent=True
                )
            found = await self._sftp.lstat(real)
            # By now each of these names may lead elsewhere. But nobody can make a link or a
            # directory that is another's, and what is their own they may read anyway. Root's is
            # trusted for MailRoot's owner alone, who may have moved what it leads to.
            if found.uid != (await self._trusted(way)).uid:
                raise TransportError(
                    Message("transport.link_owner", {"path": path}), permanent=True
                )
        return found

    async def _owner_of(self, path: str) -> SFTPAttrs:
        """Whose a new file is to be: that of whom `_own` takes it."""
        folder, inside, _ = path.partition("/")
        if not inside:
            return await self._directory()
        return await self._trusted(await self._sftp.lstat(self._at(folder)))

    async def _trusted(self, way: SFTPAttrs) -> SFTPAttrs:
        return way if way.uid else await self._directory()

    async def _check(self, file: asyncssh.SFTPClientFile, path: str) -> None:
        """Make sure that an open file is the one in MailRoot, and no link swapped in meanwhile."""
        opened, own = await together(file.stat(), self._own(path))
        if sameness(opened) != sameness(own) or stat.S_ISLNK(own.permissions or 0):
            raise TransportError(Message("transport.link_outside", {"path": path}))

    async def _names(self, directory: str, patterns: Sequence[str]) -> dict[str, SFTPAttrs]:
        """What a directory holds that matches; the rest is forgotten while it is still coming in.

        The other side may be anybody: it could go on for ever.
        """
        found, seen = {}, 0
        names = cast("AsyncGenerator[SFTPName, None]", self._sftp.scandir(directory))
        async with aclosing(names) as entries:
            async for entry in entries:
                seen += 1
                if seen > MOST_NAMES:
                    raise too_many(directory)
                name = str(entry.filename)
                if len(name) <= LONGEST_NAME and any(fnmatchcase(name, like) for like in patterns):
                    found[name] = entry.attrs
        return found

    def _file_info(self, name: str, found: SFTPAttrs) -> FileInfo:
        if not self.sets_mode:
            return FileInfo(name, found.size or 0)
        mode = stat.S_IMODE(found.permissions) if found.permissions is not None else None
        return FileInfo(name, found.size or 0, mode, found.uid, found.gid)

    async def _prepare_sslconf(self) -> None:
        """Have a directory to stage in, without the files that other runs left there."""
        async with self._on(SSLCONF):
            found, names = await asyncio.gather(
                unless_missing(self._sftp.lstat(self._at(SSLCONF))),
                self._names(self._at(SSLCONF), LEFTOVERS),
                return_exceptions=True,
            )
            if isinstance(found, BaseException):
                raise found
            if found is None:
                await self._sftp.mkdir(self._at(SSLCONF), SFTPAttrs(permissions=PRIVATE_DIRECTORY))
                if self.sets_mode:
                    made = await self._sftp.lstat(self._at(SSLCONF))
                    give = partial(self._sftp.setstat, self._at(SSLCONF), follow_symlinks=False)
                    try:
                        await self._give(give, made, await self._directory(), SSLCONF)
                    except TransportError:
                        await self._sftp.rmdir(self._at(SSLCONF))
                        raise
                return
            if not stat.S_ISDIR(found.permissions or 0):
                message = Message("transport.not_a_directory", {"path": SSLCONF})
                raise TransportError(message, permanent=True)
            if isinstance(names, BaseException):
                raise names
        await self.remove(f"{SSLCONF}/{name}" for name in names)

    async def _stage(self, file: File, staging: str) -> None:
        path = self._at(staging)
        flags = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
        wanted = PRIVATE_MODE if file.private else PUBLIC_MODE
        mode = SFTPAttrs(permissions=wanted) if self.sets_mode else SFTPAttrs()
        async with self._on(file.path), self._open(path, flags, mode) as stream:
            made, replaced = await together(
                stream.stat(), unless_missing(self._sftp.lstat(self._at(file.path)))
            )
            if replaced is not None and stat.S_ISDIR(replaced.permissions or 0):
                message = Message("transport.not_a_file", {"path": file.path})
                raise TransportError(message, permanent=True)
            if self.sets_mode:
                regular = replaced is not None and stat.S_ISREG(replaced.permissions or 0)
                owner = replaced if replaced and regular else await self._owner_of(file.path)
                await self._give(stream.setstat, made, owner, file.path)
                if stat.S_IMODE(made.permissions or 0) != wanted:  # the server's umask
                    await stream.setstat(SFTPAttrs(permissions=wanted))
            # Not before: there are servers that ignore the mode that a file is opened with.
            blocks = range(0, len(file.data), BLOCK)
            await together(
                *(stream.write(file.data[start : start + BLOCK], start) for start in blocks)
            )
            with suppress(asyncssh.SFTPOpUnsupported):
                await stream.fsync()

    @asynccontextmanager
    async def _open(
        self, path: str, flags: int, mode: SFTPAttrs | None = None
    ) -> AsyncIterator[asyncssh.SFTPClientFile]:
        """A file of the host; a host that has fallen silent is not waited for to close it."""
        # Without a block size each read and write is one request: asyncssh's way of reading in
        # parallel asks once more for the end of the file.
        stream = await self._sftp.open(path, flags, mode or SFTPAttrs(), None, block_size=0)
        try:
            yield stream
        except BaseException:
            with suppress(TimeoutError, OSError, asyncssh.Error):
                async with asyncio.timeout(ssh.CLOSE_TIMEOUT_S):
                    await stream.close()
            raise
        await stream.close()

    async def _give(
        self,
        setstat: Callable[[SFTPAttrs], Awaitable[None]],
        made: SFTPAttrs,
        owner: SFTPAttrs,
        name: str,
    ) -> None:
        """Give what is new to an owner and a group.

        `setstat` must not go by the name of a file: its place may have become another's.
        """
        if owner.uid is None or (made.uid, made.gid) == (owner.uid, owner.gid):
            return
        try:
            await setstat(SFTPAttrs(uid=owner.uid, gid=owner.gid))
        except (asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure, asyncssh.SFTPOpUnsupported):
            if made.uid != owner.uid:  # the group alone does not decide who can read a key
                message = Message("transport.owner", {"path": name, "owner": owner.uid})
                raise TransportError(message, permanent=True) from None

    async def _replace(self, staging: str, path: str) -> None:
        async with self._on(path):
            try:
                await self._sftp.posix_rename(self._at(staging), self._at(path))
            except asyncssh.SFTPOpUnsupported:
                raise _NoPosixRename from None
            except MISSING:
                message = Message("transport.superseded", {"path": path})
                raise TransportError(message, permanent=True) from None

    async def _replace_in_turn(self, staged: Sequence[tuple[str, File]], token: str) -> None:
        """Where rename replaces nothing: move the old file away, the new one in, one by one.

        A file that cannot be moved in is followed by the old one's return.
        """
        kept = []
        for staging, file in staged:
            old = stage_name(file.path, token).removesuffix("new") + "old"
            async with self._on(file.path):
                with suppress(*MISSING):
                    await self._sftp.rename(self._at(file.path), self._at(old))
                    kept.append(old)
                try:
                    await self._sftp.rename(self._at(staging), self._at(file.path))
                except asyncssh.Error:
                    if old in kept:
                        kept.remove(old)
                        await self._sftp.rename(self._at(old), self._at(file.path))
                    raise
        await self.remove(kept)

    async def _unlink(self, path: str) -> None:
        async with self._on(path):
            await unless_missing(self._sftp.remove(self._at(path)))

    @asynccontextmanager
    async def _undone_on_error(self, staged: Sequence[tuple[str, File]]) -> AsyncIterator[None]:
        try:
            yield
        except Exception:
            with suppress(TransportError):
                await self.remove(staging for staging, _ in staged)
            raise

    @asynccontextmanager
    async def _on(self, path: str) -> AsyncIterator[None]:
        """A step that concerns one file; a vague refusal is explained by a look at the disk."""
        try:
            async with step(path):
                yield
        except TransportError as error:
            if error.message.code == "sftp.silent":
                self._client = None  # whatever comes next need not wait again
            if error.message.code != "sftp.failure" or self._client is None:
                raise
            raise await self._cause(error, path) from None

    async def _cause(self, error: TransportError, path: str) -> TransportError:
        params: dict[str, Param] = {"path": path}
        with suppress(TransportError):
            async with step(path):
                disk = await self._client_statvfs()
                if disk.bavail == 0 or disk.favail == 0 < disk.files:
                    return TransportError(Message("transport.disk_full", params), permanent=True)
                if disk.flags & _READ_ONLY_FLAG:
                    return TransportError(Message("transport.read_only", params), permanent=True)
        return error

    async def _client_statvfs(self) -> asyncssh.SFTPVFSAttrs:
        return await self._sftp.statvfs(self._root or "/")
