"""The whole portal in one encrypted file: every row of the database and the keys beside it.

The rows travel as JSON Lines, so that a backup of a SQLite portal can be restored on PostgreSQL
and the other way round. Sessions are left out: everybody logs in again.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from django.apps import apps
from django.core.management import call_command
from django.db import transaction

from certs.models import ClientNote
from xmailadmin import home, vault
from xmailadmin.models import User
from xmailadmin.prepare import migrate
from xmailadmin.sealed_file import FRAME, SealedFileError, open_frames, seal_frames

__all__ = ["BackupError", "restore", "write_backup"]

# Made anew by Django itself, or worthless elsewhere.
LEFT_OUT = ["contenttypes", "auth.permission", "sessions"]


class BackupError(Exception):
    """The backup cannot be written or restored; the text says why and what to do."""


def write_backup(path: Path, passphrase: str) -> dict[str, int]:
    """Writes the portal to the new file `path` (mode 0600) and returns how many rows it holds.

    A file that is there already is left alone, and one that could not be finished is removed.
    """
    if not passphrase:
        raise BackupError("A backup needs a passphrase.")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as file, _scratch() as rows:
            with transaction.atomic():  # one moment of the database
                counts = _count_rows()
                call_command(
                    "dumpdata", all=True, format="jsonl", exclude=LEFT_OUT, output=rows.name,
                    use_natural_foreign_keys=True, verbosity=0,
                )  # fmt: skip
            secrets = {
                "secret_key": home.secret("XMAILADMIN_SECRET_KEY", "secret.key", ""),
                "master_keys": vault.export_master_keys(),
            }
            head = json.dumps({"secrets": secrets, "counts": counts}).encode()
            seal_frames(_frames(head, rows), file, passphrase)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise BackupError(f"{path} cannot be written: {error.strerror}.") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return counts


def restore(path: Path, passphrase: str) -> dict[str, int]:
    """Restores a backup into a data directory and database that hold no portal yet.

    Returns how many rows there are. The file is read to its end, and so proven whole, before
    anything is written.
    """
    with _scratch() as rows:
        try:
            with path.open("rb") as file:
                frames = open_frames(file, passphrase)
                head = json.loads(next(frames, b"{}"))
                for frame in frames:
                    rows.write(frame)
        except OSError as error:
            raise BackupError(f"{path} cannot be read: {error.strerror}.") from None
        except SealedFileError as error:
            raise BackupError(str(error)) from None
        rows.flush()
        migrate()
        if User.objects.exists():
            raise BackupError(
                "There is a portal already. Restore into an empty XMAILADMIN_HOME or database."
            )
        _keep_secrets(head["secrets"])
        with transaction.atomic():
            ClientNote.objects.all().delete()  # the backup has its own, as the team edited them
            call_command("loaddata", rows.name, verbosity=0)
            counts = _count_rows()
            if counts != head["counts"]:
                raise BackupError("The restored rows do not match the backup; nothing was kept.")
    return counts


def _frames(head: bytes, rows: IO[bytes]) -> Iterator[bytes]:
    yield head
    rows.seek(0)
    while frame := rows.read(FRAME):
        yield frame


def _scratch() -> Any:
    """Returns a private temporary file in the data directory; it vanishes with its block."""
    return tempfile.NamedTemporaryFile(dir=home.directory(), suffix=".jsonl")


def _count_rows() -> dict[str, int]:
    return {
        model._meta.label: model._default_manager.count()
        for model in apps.get_models()
        if model._meta.app_label not in LEFT_OUT and model._meta.label_lower not in LEFT_OUT
    }


def _keep_secrets(secrets: dict[str, str]) -> None:
    for name, filename in (("secret_key", "secret.key"), ("master_keys", vault.KEY_FILE)):
        target = home.directory() / filename
        target.unlink(missing_ok=True)
        home.create_secret(target, secrets[name])
