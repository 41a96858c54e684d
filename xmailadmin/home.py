"""The data directory (XMAILADMIN_HOME) and the secrets that live in it.

Every secret may come from the environment (`NAME`), from a file that the environment names
(`NAME_FILE`), or from a file in the data directory that is made at the first start.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

__all__ = [
    "HomeError",
    "alone",
    "create_secret",
    "directory",
    "from_environment",
    "given",
    "given_text",
    "location",
    "lock_file",
    "new_file",
    "own_text",
    "reason",
    "replace_secret",
    "secret",
    "take_back",
    "url_from_environment",
]

MOST = 64 * 1024  # bytes of a file that holds one secret
CHECKOUT = Path(__file__).resolve().parent.parent

_made: list[Path] = []  # by this process: the data directory, and secrets in it


class HomeError(Exception):
    """The data directory or a secret cannot be used; the text says which and what to do."""


def location() -> Path:
    """Returns where the data directory is, or would be."""
    return Path(os.environ.get("XMAILADMIN_HOME") or CHECKOUT / "data").expanduser().absolute()


def directory() -> Path:
    """Returns the data directory, made with mode 0700 when it is missing.

    One that was made beforehand gets that mode while it is empty. Later it keeps what it has, for
    it may hold more than ours, and nobody but its owner can read what we put there.
    Raises HomeError if it cannot be made or written.
    """
    home = location()
    try:
        home.mkdir(mode=0o700, parents=True)
        _made.append(home)
    except FileExistsError:
        pass
    except OSError as error:
        raise HomeError(
            f"the data directory {home} cannot be made: {error.strerror}. "
            "Set XMAILADMIN_HOME to a directory that can be written."
        ) from None
    if not home.is_dir():
        raise HomeError(f"{home} is no directory. Set XMAILADMIN_HOME to one.")
    if not os.access(home, os.W_OK | os.X_OK):
        raise HomeError(
            f"the data directory {home} cannot be written. "
            "Change its permissions or set XMAILADMIN_HOME to another one."
        )
    if home.stat().st_mode & 0o077 and not any(home.iterdir()):
        with suppress(PermissionError):  # somebody else's
            home.chmod(0o700)
    return home


def from_environment(name: str, default: str = "") -> str:
    """Returns the value of `name`, or the stripped content of the file that `name`_FILE names.

    Raises HomeError if that file cannot be read.
    """
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return given_text(Path(path)).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise HomeError(f"{name}_FILE={path} cannot be read: {reason(error)}.") from None
    return default


def url_from_environment(name: str, default: str) -> str:
    """Returns the URL that `name` or `name`_FILE gives.

    Raises HomeError, which repeats nothing of it, if it cannot be read: its password may be why.
    """
    url = from_environment(name, default)
    try:
        readable = urlsplit(url).port or True
    except ValueError:
        readable = False
    if not readable:
        raise HomeError(
            f"{name} cannot be read. Write what is special in its user name and password in "
            "percent form: / as %2F, ? as %3F, # as %23, @ as %40, : as %3A, % as %25."
        )
    return url


def reason(error: OSError | UnicodeDecodeError) -> str:
    """Returns why a file cannot be read as text, in the operating system's words or in ours."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"it is not {error.encoding.upper()} text"


def given(path: Path, most: int = MOST) -> bytes:
    """Returns what is in a file that a person named, which may be a pipe as well.

    Raises OSError, also if it has more than `most` bytes: some files never end.
    """
    with path.open("rb") as file:
        return _whole(file, most)


def given_text(path: Path) -> str:
    """Returns the text in a small file that a person named, with the line ends of Unix.

    Raises what `given` raises, or UnicodeDecodeError.
    """
    return io.TextIOWrapper(io.BytesIO(given(path)), encoding="utf-8").read()


def own_text(path: Path) -> str:
    """Returns the text in a small file of the data directory.

    Raises OSError or UnicodeDecodeError. What else there may be by that name, such as a pipe that
    nobody ever writes to, keeps nobody waiting.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "It is not a regular file")
        return _whole(file, MOST).decode("ascii")


def _whole(file: IO[bytes], most: int) -> bytes:
    content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def secret(name: str, filename: str, value: str) -> str:
    """Returns the secret `name` from the environment or the data directory's `filename`.

    `value` is kept there as the secret when neither has one yet.
    """
    if found := from_environment(name):
        return found
    path = directory() / filename
    if not path.exists():
        with suppress(FileExistsError):
            create_secret(path, value)
    try:
        kept = own_text(path).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"{path} cannot be read: {reason(error)}.") from None
    if not kept:
        raise HomeError(f"{path} is empty. Put its content back, or delete it to have it made.")
    return kept


def create_secret(path: Path, value: str) -> None:
    """Writes `value` to a new file that only its owner can read, whatever the umask.

    Raises FileExistsError if the file is there, HomeError if it cannot be written.
    """
    with _written(path, value) as scratch:
        # link() fails when the name exists, so two starts at once agree on one secret.
        os.link(scratch, path)
    _made.append(path)


def replace_secret(path: Path, value: str) -> None:
    """Puts `value` in place of the secret in `path`: whoever reads it gets the old or the new one.

    Raises HomeError if it cannot be written.
    """
    with _written(path, value) as scratch:
        scratch.replace(path)
    for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed
        left.unlink(missing_ok=True)


def take_back() -> None:
    """Removes what this process made in the data directory, if there is nothing else in it yet."""
    home = directory()
    if set(home.iterdir()) <= set(_made):
        for path in reversed(_made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Yields True if no other process is in a block of this name, and keeps others out of it."""
    path = directory() / f"{name}.lock"
    descriptor = lock_file(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who was in the block may just have left it, and taken the file away.
            mine = path.stat().st_ino == os.fstat(descriptor).st_ino
        except (BlockingIOError, FileNotFoundError):
            mine = False
        try:
            yield mine
        finally:
            if mine:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def new_file(path: Path, *, replacing: Path | None = None) -> int:
    """Returns the descriptor of a new file that only its owner can read, whatever the umask.

    Root's command makes it for the portal: it belongs to the owner of the file that it will
    replace, or else of its directory. Raises FileExistsError if there is anything by that name.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    model = path.parent.stat()
    with suppress(FileNotFoundError):
        model = replacing.lstat() if replacing else model
    with suppress(OSError):  # only root may, and not everywhere
        os.fchown(descriptor, model.st_uid, model.st_gid)
    return descriptor


def lock_file(path: Path) -> int:
    """Returns the descriptor of a file that is there to be locked, made when it is missing."""
    while True:
        with suppress(FileExistsError):
            return new_file(path)
        with suppress(FileNotFoundError):  # whoever had it has just taken it away
            return os.open(path, os.O_WRONLY | os.O_NOFOLLOW)


@contextmanager
def _written(path: Path, value: str) -> Iterator[Path]:
    """Yields a private file beside `path` that holds `value`.

    It is safely on the disk, and what the block does with it is when the block ends: a key that a
    power cut takes away again would take all that it has sealed meanwhile.
    """
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = new_file(scratch, replacing=path)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(value + "\n")
            file.flush()
            os.fsync(file.fileno())
        yield scratch
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise
    except OSError as error:
        raise HomeError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        scratch.unlink(missing_ok=True)
