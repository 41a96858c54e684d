"""The data directory (XMAILADMIN_HOME) and the secrets that live in it.

Every secret may come from the environment (`NAME`), from a file that the environment names
(`NAME_FILE`), or from a file in the data directory that is made at the first start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "HomeError",
    "create_secret",
    "directory",
    "from_environment",
    "replace_secret",
    "secret",
]

CHECKOUT = Path(__file__).resolve().parent.parent


class HomeError(Exception):
    """The data directory or a secret cannot be used; the text says which and what to do."""


def directory() -> Path:
    """Returns the data directory, made with mode 0700 when it is missing.

    Raises HomeError if it cannot be made or written.
    """
    home = Path(os.environ.get("XMAILADMIN_HOME") or CHECKOUT / "data").expanduser().absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HomeError(
            f"the data directory {home} cannot be made: {error.strerror}. "
            "Set XMAILADMIN_HOME to a directory that can be written."
        ) from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise HomeError(
            f"the data directory {home} cannot be written. "
            "Change its permissions or set XMAILADMIN_HOME to another one."
        )
    return home


def from_environment(name: str, default: str = "") -> str:
    """Returns the value of `name`, or the stripped content of the file that `name`_FILE names.

    Raises HomeError if that file cannot be read.
    """
    if value := os.environ.get(name):
        return value
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise HomeError(f"{name}_FILE={path} cannot be read: {reason}.") from None
    return default


def secret(name: str, filename: str, value: str) -> str:
    """Returns the secret `name` from the environment or the data directory's `filename`.

    `value` is kept there as the secret when neither has one yet.
    """
    if found := from_environment(name):
        return found
    path = directory() / filename
    with suppress(FileExistsError):
        create_secret(path, value)
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise HomeError(f"{path} cannot be read: {error.strerror}.") from None


def create_secret(path: Path, value: str) -> None:
    """Writes `value` to a new file that only its owner can read, whatever the umask.

    Raises FileExistsError if the file is there, HomeError if it cannot be written.
    """
    with _written(path, value) as scratch:
        # link() fails when the name exists, so two starts at once agree on one secret.
        os.link(scratch, path)


def replace_secret(path: Path, value: str) -> None:
    """Puts `value` in place of the secret in `path`: whoever reads it gets the old or the new one.

    Raises HomeError if it cannot be written.
    """
    with _written(path, value) as scratch:
        scratch.replace(path)


@contextmanager
def _written(path: Path, value: str) -> Iterator[Path]:
    """Yields a private file beside `path` that holds `value` and is safely on the disk."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(value + "\n")
            file.flush()
            os.fsync(file.fileno())
        yield scratch
    except FileExistsError:
        raise
    except OSError as error:
        raise HomeError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        scratch.unlink(missing_ok=True)
