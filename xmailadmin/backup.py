"""The whole portal in one encrypted file: every row of the database and the keys beside it.

The rows travel as JSON Lines, so that a backup of a SQLite portal can be restored on PostgreSQL
and the other way round. Sessions are left out: everybody logs in again.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core import serializers
from django.core.exceptions import ValidationError
from django.core.management.color import no_style
from django.core.serializers.base import DeserializationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.loader import MigrationLoader

from xmailadmin import audit, audit_note, home, vault
from xmailadmin.models import AuditEntry, User
from xmailadmin.prepare import migrate
from xmailadmin.rotation import missing_keys
from xmailadmin.sealed_file import FRAME, SealedFileError, open_frames, seal_frames

__all__ = ["BackupError", "restore", "write_backup"]

SHORTEST = 12  # characters of a passphrase
FEWEST = 5  # different ones among them
# Made anew by Django itself, or worthless elsewhere.
LEFT_OUT = ("contenttypes", "auth.permission", "sessions", "usersessions")
# They point to permissions, which have other numbers elsewhere: named instead.
NAMING = (Group, User)
# What is in the data directory, by its name in the backup, and the setting that may replace it.
SECRETS = {
    "secret_key": ("secret.key", "XMAILADMIN_SECRET_KEY"),
    "master_keys": (vault.KEY_FILE, "XMAILADMIN_MASTER_KEYS"),
}


class BackupError(Exception):
    """The backup cannot be written or restored; the text says why and what to do."""


class _Exact(DjangoJSONEncoder):
    """Keeps the microseconds, over which the audit's hashes go."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if isinstance(o, datetime) else super().default(o)


def write_backup(path: Path, passphrase: str) -> dict[str, int]:
    """Writes the portal to the new file `path` (mode 0600) and returns how many rows it holds.

    A file that is there already is left alone, and one that could not be finished is removed.
    """
    if len(passphrase.strip()) < SHORTEST:
        raise BackupError(
            f"A backup needs a passphrase of at least {SHORTEST} characters: whoever gets the file "
            "can try as many as they like."
        )
    if _is_guessed_at_once(passphrase.strip()):
        raise BackupError(
            "This passphrase is among the first that anybody would try: it is a common password, "
            "or repeats or counts up a few characters. Take some words that do not belong together."
        )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as file, _scratch() as rows:
            audit.record(None, "portal.backup")
            # A rotation may go on meanwhile: the keys of before and after open all there is.
            keys = vault.export_master_keys()
            with _one_moment():
                counts = {model._meta.label: _dump(model, rows) for model in _models()}
            secrets = {
                "secret_key": settings.SECRET_KEY,
                "master_keys": vault.joined(vault.export_master_keys(), keys),
            }
            head = {"secrets": secrets, "counts": counts, "schema": _schema()}
            seal_frames(_frames(json.dumps(head).encode(), rows), file, passphrase)
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
    anything is written; whatever fails then is taken back.
    """
    with _scratch() as rows, home.alone("restore") as alone:
        if not alone:
            raise BackupError("Another restore is running.")
        head = _read(path, passphrase, rows)
        if head["schema"] != _schema():
            raise BackupError(
                "The backup was written by another version of xmailadmin. Restore it with that "
                "version, then install this one."
            )
        try:
            _check_keys(head["secrets"]["master_keys"])
            with _nothing_half_done():
                migrate()
                _check_place()
                _keep_secrets(head["secrets"])
                with transaction.atomic():
                    _load(rows)
                    counts = {m._meta.label: m._base_manager.count() for m in _models()}
                    if counts != head["counts"]:
                        raise BackupError("The rows do not match the backup; nothing was kept.")
                    transaction.on_commit(audit_note.remember)
                    audit.record(None, "portal.restore", entries=sum(counts.values()))
        except (DatabaseError, DeserializationError, OSError) as error:
            told = str(error).strip() or type(error).__name__
            raise BackupError(f"The backup cannot be restored, nothing was kept: {told}") from None
    return counts


def _is_guessed_at_once(passphrase: str) -> bool:
    folded = passphrase.casefold()
    steps = [ord(after) - ord(before) for before, after in pairwise(folded)]
    counted = sum(abs(step) <= 1 for step in steps) > len(steps) * 3 // 4
    repeated = folded in (folded + folded)[1:-1]
    try:
        CommonPasswordValidator().validate(passphrase)
    except ValidationError:
        return True
    return counted or repeated or len(set(folded)) < FEWEST


def _models() -> list[type[models.Model]]:
    """Returns the models whose rows a backup holds, each after those that it names."""
    kept = [
        (config, None)
        for config in apps.get_app_configs()
        if config.models_module is not None and config.label not in LEFT_OUT
    ]
    found: list[type[models.Model]] = serializers.sort_dependencies(kept)
    return [model for model in found if model._meta.label_lower not in LEFT_OUT]


def _schema() -> list[str]:
    """Returns the last migration of every application: rows fit into the same tables only."""
    leaves = MigrationLoader(None, ignore_no_migrations=True).graph.leaf_nodes()
    return sorted(f"{app}.{name}" for app, name in leaves)


@contextmanager
def _one_moment() -> Iterator[None]:
    """Reads within the block see the database as it was at one moment; writers go on."""
    sqlite = connection.vendor == "sqlite"
    mode = getattr(connection, "transaction_mode", None)
    if sqlite:
        connection.transaction_mode = "DEFERRED"  # type: ignore[attr-defined]
    try:
        with transaction.atomic():
            if not sqlite:
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    finally:
        if sqlite:
            connection.transaction_mode = mode  # type: ignore[attr-defined]


def _dump(model: type[models.Model], rows: IO[str]) -> int:
    count = 0

    def counted() -> Generator[models.Model]:
        nonlocal count
        for count, row in enumerate(model._base_manager.order_by("pk").iterator(), 1):  # noqa: B007
            yield row

    with closing(counted()) as found:
        serializers.serialize(
            "jsonl", found, stream=rows, cls=_Exact, ensure_ascii=True,
            use_natural_foreign_keys=model in NAMING,
        )  # fmt: skip
    return count


def _load(rows: IO[str]) -> None:
    """Puts the rows in place of those that the migrations made."""
    tables = _models()
    many = [field for model in tables for field in model._meta.local_many_to_many]
    throughs = [field.remote_field.through for field in many if field.remote_field.through]
    for model in (*throughs, *reversed(tables)):
        emptied = model._base_manager.all()
        emptied._raw_delete(emptied.db)
    rows.seek(0)
    for row in serializers.deserialize("jsonl", rows):
        row.save(force_insert=True)
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), tables):
            cursor.execute(statement)
    connection.check_constraints()


def _read(path: Path, passphrase: str, rows: IO[str]) -> dict[str, Any]:
    """Returns the head of the backup; its rows are in `rows` then."""
    try:
        # A FIFO, to which nobody may ever write, is opened at once, too.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BackupError(f"{path} is no file that could be a backup.")
            frames = open_frames(file, passphrase)
            head = _head(next(frames, b""))
            for frame in frames:
                rows.write(frame.decode("ascii"))
            rows.flush()  # or a full disk would be noticed too late
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}.") from None
    except SealedFileError as error:
        raise BackupError(str(error)) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, vault.VaultError):
        raise BackupError(f"{path} is damaged: it opens, but holds no portal.") from None
    return head


def _head(frame: bytes) -> dict[str, Any]:
    """Returns what the first frame says; raises one of several errors if it is none."""
    head: dict[str, Any] = json.loads(frame)
    vault.ids_of(head["secrets"]["master_keys"])
    if not head["secrets"]["secret_key"].isascii() or not {"schema", "counts"} <= head.keys():
        raise ValueError
    return head


def _frames(head: bytes, rows: IO[str]) -> Iterator[bytes]:
    yield head
    rows.seek(0)
    while frame := rows.read(FRAME):
        yield frame.encode("ascii")


@contextmanager
def _scratch() -> Iterator[IO[str]]:
    """Yields a temporary file in the data directory that has no name: it never stays behind."""
    file = tempfile.TemporaryFile("w+", encoding="ascii", dir=home.directory())  # noqa: SIM115
    try:
        yield file
    finally:
        with suppress(OSError):  # what a full disk did not take is thrown away in any case
            file.close()


def _check_keys(master_keys: str) -> None:
    """Raises BackupError if a master key in the data directory would be lost.

    The portal that it belongs to may have its rows in another database than the configured one.
    """
    file = home.directory() / vault.KEY_FILE
    if home.from_environment(SECRETS["master_keys"][1]) or not file.exists():
        return
    try:
        there = file.read_text(encoding="ascii").strip(", \n")
        lost = vault.ids_of(there) - vault.ids_of(master_keys) if there else set()
    except (vault.VaultError, UnicodeDecodeError):
        lost = {"unreadable"}
    if lost:
        raise BackupError(
            f"{file} is not among the keys of the backup, and a restore would replace it: a portal "
            "may need it. Set XMAILADMIN_HOME to an empty directory; if nothing needs that file, "
            "move it away."
        )


def _check_place() -> None:
    """Raises BackupError if there is anything already that a restore would replace."""
    try:
        secrets = missing_keys() is not None
    except vault.VaultError:
        secrets = True
    if secrets or User.objects.exists() or AuditEntry.objects.exists():
        raise BackupError(
            "There is a portal already. Restore into an empty XMAILADMIN_HOME or database."
        )


def _keep_secrets(secrets: dict[str, str]) -> None:
    for name, (filename, setting) in SECRETS.items():
        if not home.from_environment(setting):
            home.replace_secret(home.directory() / filename, secrets[name])
    lacking = vault.ids_of(secrets["master_keys"]) - set(vault.key_ids())
    if lacking:
        raise BackupError(
            f"XMAILADMIN_MASTER_KEYS lacks {', '.join(sorted(lacking))}, a master key of the "
            "backup. Unset it for the restore: the backup brings its keys along."
        )


@contextmanager
def _nothing_half_done() -> Iterator[None]:
    """Puts the secrets, and a database that was not there, back as they were if the block fails."""
    files = [home.directory() / filename for filename, _setting in SECRETS.values()]
    before = {file: file.read_text(encoding="ascii") for file in files if file.exists()}
    database = Path(settings.DATABASES["default"]["NAME"])
    new = connection.vendor == "sqlite" and not database.exists()
    try:
        yield
    except BaseException:
        for file in files:
            if file in before:
                home.replace_secret(file, before[file].strip())
            else:
                file.unlink(missing_ok=True)
        if new:
            connection.close()
            for suffix in ("", "-wal", "-shm", "-journal"):
                database.with_name(database.name + suffix).unlink(missing_ok=True)
        raise
