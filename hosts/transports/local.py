"""A MailRoot on this machine.

On POSIX every access starts from an open MailRoot directory, to which no symbolic link may lead,
and follows none out of it. Windows has neither directory handles nor permission bits here:
`sets_mode` is False there.
"""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from hosts.mailroot import lies_within
from hosts.messages import Message
from hosts.transports.base import (
    MOST_NAMES,
    PRIVATE_MODE,
    PUBLIC_MODE,
    SSLCONF,
    STAGE_PATTERN,
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

if TYPE_CHECKING:
    from collections.abc import Iterator

P = ParamSpec("P")
R = TypeVar("R")
Staged = list[tuple[str, File]]

POSIX = os.name == "posix"
READ_LIMIT = 4 * 1024 * 1024
_LINKS_AT_MOST = 8

# Absent on Windows, where they are not needed.
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: int = getattr(os, "O_DIRECTORY", 0)
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)
_BINARY: int = getattr(os, "O_BINARY", 0)
_PATH: int = getattr(os, "O_PATH", 0)  # only Linux opens what it may pass but not list

_CAUSES = {
    errno.ENOSPC: "transport.disk_full",
    errno.EDQUOT: "transport.quota",
    errno.EROFS: "transport.read_only",
    errno.EACCES: "transport.denied",
    errno.EPERM: "transport.denied",
}


def os_error(error: OSError, path: str) -> TransportError:
    """The TransportError that names what the operating system complained about."""
    if code := _CAUSES.get(error.errno or 0):
        return TransportError(Message(code, {"path": path}), permanent=True)
    reason = os.strerror(error.errno) if error.errno else str(error)
    return TransportError(Message("transport.io", {"path": path, "reason": reason}))


class LocalTransport(Transport):
    """Reads and replaces the files of a MailRoot that this process can reach by its path."""

    sets_mode = POSIX
    atomic: ClassVar[bool] = True
    by_path: ClassVar[bool] = True

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._directories: dict[str, int] = {}

    async def connect(self) -> None:
        await _in_thread(self._connect)
        self.confidential = True

    async def close(self) -> None:
        for fd in self._directories.values():
            os.close(fd)
        self._directories.clear()

    async def read(self, path: str) -> bytes | None:
        return await _in_thread(self._read, check_path(path))

    async def info(self, path: str) -> FileInfo | None:
        return await _in_thread(self._info, check_path(path))

    async def list(self, path: str, pattern: str) -> Listing:
        return await _in_thread(self._list, path, pattern)

    async def replace_all(
        self, files: Sequence[File], token: str, *, ready: Ready | None = None
    ) -> None:
        check_token(token)
        staged = [(stage_name(check_path(file.path), token), file) for file in files]
        await _in_thread(self._undone_on_error, self._stage_all, staged)
        if ready is not None:
            try:
                await ready()
            except Exception:
                await _in_thread(self._unstage, staged)
                raise
        await _in_thread(self._undone_on_error, self._switch_all, staged)

    async def remove(self, paths: Iterable[str]) -> None:
        await _in_thread(self._remove, [check_path(path) for path in paths])

    async def set_mode(self, path: str, mode: int) -> None:
        if not self.sets_mode:
            return await super().set_mode(path, mode)
        return await _in_thread(self._set_mode, check_path(path), mode)

    # What follows blocks, and runs in a thread.

    def _connect(self) -> None:
        root = self.target.mailroot
        try:
            if not stat.S_ISDIR(os.stat(root).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            self._check_place(root)
            if POSIX:
                self._directories[""] = _open_directory(os.path.abspath(root))
        except (FileNotFoundError, NotADirectoryError):
            message = Message("transport.mailroot_missing", {"mailroot": root})
            raise TransportError(message, permanent=True) from None
        except OSError as error:
            raise os_error(error, root) from error

    def _check_place(self, root: str) -> None:
        """Refuse what is not the directory that was registered, or not where MailRoots may be."""
        real = os.path.realpath(root)
        if os.path.normcase(real) != os.path.normcase(os.path.abspath(root)):
            message = Message("transport.mailroot_moved", {"mailroot": root, "real": real})
            raise TransportError(message, permanent=True)
        if not lies_within(real, self.target.mailroot_bases):
            message = Message("transport.mailroot_outside", {"mailroot": root})
            raise TransportError(message, permanent=True)

    def _at(self, path: str, keyword: str = "dir_fd") -> tuple[str, dict[str, Any]]:
        """The arguments for a call of `os` that concerns `path`; FileNotFoundError without parent.

        The directory on the way is opened once, and must be a real one.
        """
        if not POSIX:
            return os.path.join(self.target.mailroot, *path.split("/")), {}
        parent, _, name = path.rpartition("/")
        if parent not in self._directories:
            above, arguments = self._at(parent)
            flags = os.O_RDONLY | _DIRECTORY | _NOFOLLOW
            try:
                self._directories[parent] = os.open(above, flags, **arguments)
            except OSError as error:
                if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                    message = Message("transport.not_a_directory", {"path": parent})
                    raise TransportError(message, permanent=True) from None
                raise
        return name, {keyword: self._directories[parent]}

    def _lstat(self, path: str) -> os.stat_result | None:
        try:
            name, arguments = self._at(path)
            return os.stat(name, follow_symlinks=False, **arguments)
        except FileNotFoundError:
            return None

    def _resolve(self, path: str) -> tuple[str, os.stat_result] | None:
        """The regular file that `path` leads to inside MailRoot; None if there is nothing."""
        for _ in range(_LINKS_AT_MOST):
            found = self._lstat(path)
            if found is None:
                return None
            if not stat.S_ISLNK(found.st_mode):
                if stat.S_ISREG(found.st_mode):
                    return path, found
                raise TransportError(
                    Message("transport.not_a_file", {"path": path}), permanent=True
                )
            name, arguments = self._at(path)
            link = os.readlink(name, **arguments)
            root = os.path.realpath(self.target.mailroot)
            whole = posixpath.normpath(posixpath.join(root, posixpath.dirname(path), link))
            if not whole.startswith(root.rstrip("/") + "/"):
                break
            path = check_path(posixpath.relpath(whole, root))
        raise TransportError(Message("transport.link_outside", {"path": path}), permanent=True)

    def _read(self, path: str) -> bytes | None:
        with _named(path):
            resolved = self._resolve(path)
            if resolved is None:
                return None
            name, arguments = self._at(resolved[0])
            flags = os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _BINARY
            with open(os.open(name, flags, **arguments), "rb") as file:
                data = file.read(READ_LIMIT + 1)
        if len(data) > READ_LIMIT:
            raise TransportError(Message("transport.too_large", {"path": path}), permanent=True)
        return data

    def _info(self, path: str) -> FileInfo | None:
        with _named(path):
            resolved = self._resolve(path)
        return None if resolved is None else _file_info(path, resolved[1])

    def _names(self, path: str, pattern: str) -> Sequence[str]:
        """The names in a directory ("" is MailRoot) that match; FileNotFoundError without it."""
        directory: int | str = os.path.join(self.target.mailroot, *path.split("/"))
        if POSIX:
            self._at(f"{path}/x" if path else "x")
            directory = self._directories[path]
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, MOST_NAMES + 1)]
        if len(names) > MOST_NAMES:
            raise too_many(path or self.target.mailroot)
        return sorted(name for name in names if fnmatchcase(name, pattern))

    def _list(self, path: str, pattern: str) -> Listing:
        path = "" if path in {"", "."} else check_path(path)
        listing = []
        with _named(path or self.target.mailroot), suppress(FileNotFoundError):
            for name in self._names(path, pattern):
                entry, arguments = self._at(f"{path}/{name}" if path else name)
                with suppress(FileNotFoundError):  # gone meanwhile, or a dangling link
                    found = os.stat(entry, **arguments)
                    if stat.S_ISREG(found.st_mode):
                        listing.append(_file_info(name, found))
        return listing

    def _undone_on_error(self, work: Callable[[Staged], None], staged: Staged) -> None:
        try:
            work(staged)
        except TransportError:
            self._unstage(staged)
            raise

    def _unstage(self, staged: Staged) -> None:
        for staging, _ in staged:
            with suppress(OSError, TransportError):
                self._unlink(staging)

    def _stage_all(self, staged: Staged) -> None:
        owner = self._prepare_sslconf()
        for staging, file in staged:
            with _named(file.path):
                replaced = self._lstat(file.path)
                if replaced and stat.S_ISDIR(replaced.st_mode):
                    message = Message("transport.not_a_file", {"path": file.path})
                    raise TransportError(message, permanent=True)
                keep = replaced if replaced and stat.S_ISREG(replaced.st_mode) else owner
                self._stage(file, staging, keep)
        self._sync(SSLCONF)

    def _switch_all(self, staged: Staged) -> None:
        for staging, file in staged:
            with _named(file.path):
                source, source_at = self._at(staging, "src_dir_fd")
                target, target_at = self._at(file.path, "dst_dir_fd")
                try:
                    os.replace(source, target, **source_at, **target_at)
                except FileNotFoundError:
                    message = Message("transport.superseded", {"path": file.path})
                    raise TransportError(message, permanent=True) from None
        self._sync("", SSLCONF)

    def _prepare_sslconf(self) -> os.stat_result:
        """Have a directory to stage in, without the files that other runs left there."""
        with _named(SSLCONF):
            root = os.stat(self._directories[""] if POSIX else self.target.mailroot)
            try:
                name, arguments = self._at(SSLCONF)
                os.mkdir(name, 0o700, **arguments)
            except FileExistsError:
                pass
            else:
                self._at(f"{SSLCONF}/x")
                if POSIX:
                    os.fchmod(self._directories[SSLCONF], 0o700)
                    _give(self._directories[SSLCONF], root, SSLCONF)
            for leftover in self._names(SSLCONF, STAGE_PATTERN):
                with _named(f"{SSLCONF}/{leftover}"):  # a directory, which is none of ours, stays
                    self._unlink(f"{SSLCONF}/{leftover}")
        return root

    def _stage(self, file: File, staging: str, owner: os.stat_result) -> None:
        name, arguments = self._at(staging)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY
        with open(os.open(name, flags, PRIVATE_MODE, **arguments), "wb", buffering=0) as stream:
            if self.sets_mode:
                _give(stream.fileno(), owner, file.path)
                os.fchmod(stream.fileno(), PRIVATE_MODE if file.private else PUBLIC_MODE)
            rest = memoryview(file.data)
            while rest:
                rest = rest[stream.write(rest) :]
            os.fsync(stream.fileno())

    def _remove(self, paths: Sequence[str]) -> None:
        for path in paths:
            with _named(path):
                self._unlink(path)
        self._sync(*{path.rpartition("/")[0] for path in paths})

    def _unlink(self, path: str) -> None:
        with suppress(FileNotFoundError):
            name, arguments = self._at(path)
            os.unlink(name, **arguments)

    def _set_mode(self, path: str, mode: int) -> None:
        with _named(path):
            resolved = self._resolve(path)
            if resolved is None:
                return
            name, arguments = self._at(resolved[0])
            fd = os.open(name, os.O_RDONLY | _NOFOLLOW | _NONBLOCK, **arguments)
            try:
                os.fchmod(fd, mode)
            finally:
                os.close(fd)

    def _sync(self, *directories: str) -> None:
        for path in directories:
            if path in self._directories:
                with _named(path or self.target.mailroot):
                    os.fsync(self._directories[path])


def _open_directory(path: str) -> int:
    """Open a directory by its complete path; where the system can, no link is followed on the way.

    So nobody can put a link there after the path was looked at.
    """
    if not _PATH:
        return os.open(path, os.O_RDONLY | _DIRECTORY | _NOFOLLOW)
    fd = os.open("/", _PATH | _DIRECTORY)
    parts = [part for part in path.split("/") if part]
    for at, part in enumerate(parts, start=1):
        above, access = fd, os.O_RDONLY if at == len(parts) else _PATH
        try:
            fd = os.open(part, access | _DIRECTORY | _NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return fd


async def _in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of blocking work; when cancelled, leave only once the work is over.

    Otherwise `close` would take the directories away from under it.
    """
    future = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


def _give(fd: int, owner: os.stat_result, path: str) -> None:
    """Give a new file to the owner and group of the one it replaces."""
    mine = os.fstat(fd)
    if (mine.st_uid, mine.st_gid) == (owner.st_uid, owner.st_gid):
        return
    try:
        os.fchown(fd, owner.st_uid, owner.st_gid)
    except PermissionError:
        if mine.st_uid != owner.st_uid:  # the group alone does not decide who can read a key
            message = Message("transport.owner", {"path": path, "owner": owner.st_uid})
            raise TransportError(message, permanent=True) from None


def _file_info(name: str, found: os.stat_result) -> FileInfo:
    if not POSIX:
        return FileInfo(name, found.st_size)
    mode = stat.S_IMODE(found.st_mode)
    return FileInfo(name, found.st_size, mode, found.st_uid, found.st_gid)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Turn errors of the operating system into ones that name the file and what to do."""
    try:
        yield
    except OSError as error:
        raise os_error(error, path) from error
