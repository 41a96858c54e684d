"""Moves a portal that has grown out of its SQLite file to PostgreSQL, row by row and proven.

All of it is one transaction of the new database: an interrupted move has left nothing there, and is
simply run again. The SQLite file is only read, and stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.core.management.color import no_style
from django.db import DatabaseError, connections, models, transaction
from django.db.migrations.executor import MigrationExecutor

from xmailadmin import vault
from xmailadmin.rotation import sealed_fields

__all__ = ["SOURCE", "MoveError", "check_source", "move", "opened"]

SOURCE, TARGET = "source", "default"
BATCH = 500  # rows
STILL_RUNNING_S = 15  # since its ticker last noted that it is alive
# Goes on by itself when the rows have been moved; nothing else may differ on a second run.
GOES_ON = {"xmailadmin.AuditEntry", "xmailadmin.AuditHead", "sessions.Session", "hosts.Heartbeat"}


# What the databases, and Django's fields, say of a value that is of another kind.
UNFIT = (DatabaseError, TypeError, ValueError, ValidationError)


class MoveError(Exception):
    """The portal cannot be moved; the text says why and what to do. Nothing was changed."""


class _Refused(Exception):
    """A row of a table, after so many that were copied, cannot be read or stored."""

    def __init__(self, model: type[models.Model], copied: int) -> None:
        self.model = model
        self.copied = copied


@contextmanager
def opened(path: Path) -> Iterator[None]:
    """Has the SQLite file at hand as a second database. Raises MoveError if it is none."""
    if not path.is_file():
        raise MoveError(f"There is no {path}: name the SQLite file of the portal with --source.")
    connections.settings[SOURCE] = {
        **connections.settings[TARGET],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "CONN_HEALTH_CHECKS": False,
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 5},
    }
    try:
        yield
    finally:
        connections[SOURCE].close()
        del connections[SOURCE]
        del connections.settings[SOURCE]


def check_source() -> None:
    """Raises MoveError if the SQLite file is not a portal of this version at rest."""
    source = connections[SOURCE]
    try:
        executor = MigrationExecutor(source)
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
        tables = source.introspection.table_names()
    except DatabaseError as error:
        raise MoveError(f"{source.settings_dict['NAME']} cannot be read: {error}.") from None
    if "django_migrations" not in tables:
        raise MoveError(f"{source.settings_dict['NAME']} holds no portal.")
    if behind:
        raise MoveError(
            "The SQLite portal is of another version. Bring it up to date first: run "
            "`manage.py prepare` without DATABASE_URL."
        )
    with source.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM hosts_heartbeat WHERE part = 'ticker' AND at > datetime('now', %s)",
            [f"-{STILL_RUNNING_S} seconds"],
        )
        if cursor.fetchone():
            raise MoveError(
                "The SQLite portal is still running, or was until a moment ago. Stop it, wait "
                f"{STILL_RUNNING_S} seconds, and run this again."
            )


def move(say: Callable[[str], None]) -> dict[str, int]:
    """Moves every row and returns how many each table holds; {} if all are there already.

    Raises MoveError, with the new database as it was, if that holds another portal or if anything
    has not arrived as it was sent.
    """
    moving = _models()
    # The write lock on the file keeps whoever still writes from writing what would be lost.
    with transaction.atomic(using=SOURCE):
        try:
            if _occupied():
                if _differing(moving, ignore=GOES_ON):
                    raise MoveError(
                        "The database that DATABASE_URL names holds a portal already. Name an "
                        "empty one; nothing was changed."
                    )
                return {}
            with transaction.atomic(using=TARGET):
                _empty(moving)
                counts = {}
                for model in moving:
                    counts[model._meta.label] = _copy(model)
                    if counts[model._meta.label]:
                        say(f"{counts[model._meta.label]:>9} {model._meta.label}")
                _reset_sequences(moving)
                if differing := _differing(moving):
                    raise MoveError(
                        f"These rows did not arrive as they were sent: {', '.join(differing)}. "
                        "Nothing was changed."
                    )
                _open_every_secret()
        except _Refused as refused:
            raise MoveError(_said(*_refused(refused.model, refused.copied))) from None
        except UNFIT as error:  # of all rows together
            raise MoveError(_said(*_rule(error))) from None
    ContentType.objects.clear_cache()
    return counts


def _models() -> list[type[models.Model]]:
    found = apps.get_models(include_auto_created=True)
    return [model for model in found if model._meta.managed and not model._meta.proxy]


def _occupied() -> bool:
    """Whether the new database holds more than what its migrations have put there."""
    names = ("xmailadmin.User", "xmailadmin.AuditEntry", "certs.Pair", "hosts.Host")
    return any(apps.get_model(name)._base_manager.using(TARGET).exists() for name in names)


def _fields(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    return [field for field in model._meta.concrete_fields if not getattr(field, "generated", 0)]


def _empty(moving: list[type[models.Model]]) -> None:
    """Takes away what the migrations have put there, for the portal brings its own."""
    connection = connections[TARGET]
    names = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in moving)
    with connection.cursor() as cursor:
        # It waits for the other database now and then.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute(f"TRUNCATE {names}")


def _copy(model: type[models.Model]) -> int:
    """Copies every row as it is: no default, no time stamp and no save() has a say."""
    fields = _fields(model)
    target: Any = model._base_manager.using(TARGET)
    count = 0
    rows = model._base_manager.using(SOURCE).order_by("pk").iterator(chunk_size=BATCH)
    try:
        while batch := list(islice(rows, BATCH)):
            if any(_lost(row, field) for row in batch for field in fields):
                raise _Refused(model, count)
            target._insert(batch, fields=fields, using=TARGET, raw=True)
            count += len(batch)
    except UNFIT:
        raise _Refused(model, count) from None
    return count


def _lost(row: models.Model, field: models.Field[Any, Any]) -> bool:
    """Whether SQLite holds something else than what Django read: broken JSON, or no date."""
    value = getattr(row, field.attname)
    if isinstance(field, models.JSONField) and isinstance(value, str):
        try:
            json.loads(_raw(row, field))
        except (TypeError, ValueError):
            return True
    is_date = isinstance(field, models.DateField | models.TimeField)
    return is_date and value is None and _raw(row, field) is not None


def _raw(row: models.Model, field: models.Field[Any, Any]) -> Any:
    """Returns what SQLite holds, as text; by its own kind, Django would have a say again."""
    table, column, key = (
        connections[SOURCE].ops.quote_name(str(name))
        for name in (row._meta.db_table, field.column, row._meta.pk.column)
    )
    with connections[SOURCE].cursor() as cursor:
        cursor.execute(
            f"SELECT CAST({column} AS TEXT) FROM {table} WHERE {key} = %s",  # noqa: S608
            [row.pk],
        )
        return cursor.fetchone()[0]


def _refused(model: type[models.Model], copied: int) -> tuple[str, object, str]:
    """Returns table, row and column that cannot be moved; what is unknown is empty."""
    rows = model._base_manager.using(SOURCE).order_by("pk")
    table = model._meta.db_table
    with suppress(*UNFIT):
        for pk in list(rows.values_list("pk", flat=True)[copied:]):
            # The key of a session is a secret.
            shown = pk if isinstance(pk, int) else ""
            try:
                for field in _fields(model):
                    if _unfit(rows.filter(pk=pk), field):
                        return table, shown, str(field.column)
                with transaction.atomic(using=TARGET):
                    rows.get(pk=pk).save_base(raw=True, using=TARGET, force_insert=True)
                    transaction.set_rollback(True, using=TARGET)
            except UNFIT as error:
                return table, shown, _rule(error)[2]
    return table, "", ""


def _unfit(found: models.QuerySet[Any], field: models.Field[Any, Any]) -> bool:
    """Whether that field of a row is nothing that the new database can hold."""
    target = connections[TARGET]
    try:
        row = found.only(field.attname).get()
        value = field.get_db_prep_save(getattr(row, field.attname), target)
        with transaction.atomic(using=TARGET), target.cursor() as cursor:
            cursor.execute(f"SELECT CAST(%s AS {field.cast_db_type(target)})", [value])
    except UNFIT:
        return True
    too_long = isinstance(value, str) and len(value) > (field.max_length or len(value))
    return too_long or (value is None and not field.null) or _lost(row, field)


def _rule(error: BaseException) -> tuple[str, object, str]:
    """Returns table and rule (or column) that PostgreSQL names, and none of the values."""
    told = getattr(error.__cause__, "diag", None)
    return (
        getattr(told, "table_name", None) or "",
        "",
        getattr(told, "column_name", None) or getattr(told, "constraint_name", None) or "",
    )


def _said(table: str, row: object, column: str) -> str:
    """Says what was refused. What the database says of it may hold the whole row: left out."""
    where = " ".join(str(part) for part in (table, row, column and f"({column})") if part)
    return (
        f"The new database does not take what the SQLite file holds: {where or 'a row'}. "
        "Nothing was changed. Put that right in the file, and run this again."
    )


def _reset_sequences(moving: list[type[models.Model]]) -> None:
    connection = connections[TARGET]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), moving):
            cursor.execute(statement)


def _differing(
    moving: list[type[models.Model]], ignore: set[str] | frozenset[str] = frozenset()
) -> list[str]:
    """Returns the tables that do not hold the same rows in both databases."""
    compared = [model for model in moving if model._meta.label not in ignore]
    return [
        model._meta.label for model in compared if _digest(model, SOURCE) != _digest(model, TARGET)
    ]


def _digest(model: type[models.Model], using: str) -> tuple[int, str]:
    """Returns how many rows there are, and a hash over all that they hold."""
    names = [field.attname for field in _fields(model)]
    found = model._base_manager.using(using).order_by("pk").values_list(*names)
    digest = hashlib.sha256()
    count = 0
    for row in found.iterator(chunk_size=BATCH):
        text = json.dumps([_plain(value) for value in row], sort_keys=True)
        digest.update(text.encode() + b"\n")
        count += 1
    return count, digest.hexdigest()


def _plain(value: Any) -> Any:
    """Returns the value in a form that does not depend on the database it came from."""
    if isinstance(value, memoryview | bytes):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | list | dict):
        return value
    return str(value)


def _open_every_secret() -> None:
    for model, field in sealed_fields():
        sealed = model._base_manager.using(TARGET).exclude(**{field: ""})
        for row in sealed.only("pk", field).iterator(chunk_size=BATCH):
            try:
                vault.open_sealed(getattr(row, field), vault.place(row, field))
            except vault.VaultError as error:
                raise MoveError(
                    f"{model._meta.label} {row.pk} cannot be opened: {error} Nothing was changed."
                ) from None
