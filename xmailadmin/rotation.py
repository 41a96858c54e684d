"""Seals every secret anew with a new master key, while the portal goes on working.

Each row is written only if it still holds what was read, so that nothing is lost to whoever changes
a secret meanwhile. A rotation that was killed is simply run again: what is done is not done twice,
and at every moment each secret opens, for the old keys stay at hand until nothing needs them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.apps import apps
from django.db import OperationalError, connection, models, transaction
from django.db.models.functions import Substr

from xmailadmin import audit, audit_seal, home, vault
from xmailadmin.models import AuditHead

__all__ = ["RotationError", "missing_keys", "needed_keys", "rotate", "rows_of", "sealed_fields"]

BATCH = 50  # rows: so many are written in one go, and writers of SQLite wait for no more
# How long a page or a worker that read a row just before it was sealed anew takes to open it.
GRACE_S = 2.0
PATIENCE_S = 60.0
SHOWN = 5  # rows that are named
KEY_ID = 20  # characters: a sealed text begins with `v1.` and the id of its key, then a dot


class RotationError(Exception):
    """The rotation cannot be done now; the text says why and what to do."""


def rotate() -> int:
    """Makes a new master key, seals every secret with it and drops the old ones.

    Returns how many secrets were sealed anew. Old keys that come from the environment stay there:
    only a person can take them away. Raises RotationError, or vault.VaultError if a secret cannot
    be opened; what was done until then stays done.
    """
    ours = not home.from_environment("XMAILADMIN_MASTER_KEYS")
    with home.alone("rotation") as alone:
        if not alone:
            raise RotationError("Another rotation of the master key is running.")
        if ours:
            # Also where a rotation that was killed left one, which may have been seen with the old.
            vault.add_master_key()
        elif len(vault.key_ids()) < 2:
            raise RotationError(
                "The master key comes from XMAILADMIN_MASTER_KEYS. Put a new key before "
                "the old one there, for every process, and run this command again."
            )
        _wait_for_transactions()
        total = 0
        while done := _rewrap():
            total += done
        audit.record(None, "vault.rotate", secrets=total, key=vault.key_ids()[0])
        audit_seal.renew()  # whoever had the old master key cannot make the seal either
        if ours:
            time.sleep(GRACE_S)
            vault.drop_old_master_keys()
    return total


def sealed_fields() -> Iterator[tuple[type[models.Model], str]]:
    """Yields every field that holds sealed secrets: all whose name ends in `_sealed`."""
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if field.name.endswith("_sealed"):
                yield model, field.name


def rows_of(key_id: str) -> list[str]:
    """Names rows with secrets that the master key of this id sealed; "": that nothing can open."""
    return list(islice(_rows_of(key_id), SHOWN))


def _rows_of(key_id: str) -> Iterator[str]:
    for model, field in sealed_fields():
        rows = _with_secret(model, field).annotate(head=Substr(field, 1, KEY_ID)).order_by("pk")
        for pk, head in rows.values_list("pk", "head").iterator():
            if vault.sealed_by(head) == key_id:
                yield f"{model._meta.db_table} {pk} ({field})"


def missing_keys() -> set[str] | None:
    """Returns the ids of the master keys that secrets need and that are not at hand.

    The key of the audit's seal needs none: without it the audit is told as not sealed, and gets a
    new one by `verify_audit --remember`. None if there is no secret at all. Raises vault.VaultError
    if no master key can be read.
    """
    if not needed_keys():
        return None
    return needed_keys(but=AuditHead) - {"", *vault.key_ids()}


def needed_keys(*, but: type[models.Model] | None = None) -> set[str]:
    """Returns the ids of the master keys of all secrets; "" among them: one is damaged."""
    needed: set[str] = set()
    for model, field in sealed_fields():
        if model is but:
            continue
        heads = _with_secret(model, field).order_by().annotate(head=Substr(field, 1, KEY_ID))
        needed.update(map(vault.sealed_by, heads.values_list("head", flat=True).distinct()))
    return needed


def _with_secret(model: type[models.Model], field: str) -> models.QuerySet[Any]:
    return model._base_manager.exclude(**{field: ""})


def _rewrap() -> int:
    """Seals anew whatever an old key sealed; returns how many secrets it brought over."""
    current = vault.key_ids()[0]
    done = 0
    for model, field in sealed_fields():
        old = _with_secret(model, field).exclude(**{f"{field}__startswith": f"v1.{current}."})
        rows = old.order_by("pk").only("pk", field)
        last = 0
        while batch := list(rows.filter(pk__gt=last)[:BATCH]):
            with transaction.atomic():
                done += sum(_rewrap_row(model, row, field) for row in batch)
            last = batch[-1].pk
    return done


def _rewrap_row(model: type[models.Model], row: models.Model, field: str) -> int:
    before = getattr(row, field)
    place = vault.place(row, field)
    try:
        after = vault.seal(vault.open_sealed(before, place), place)
    except vault.VaultError as error:
        if model is AuditHead:  # see missing_keys
            return 0
        where = f"{model._meta.db_table} {row.pk} ({field})"
        raise vault.VaultError(f"{where}: {error} Enter it anew, or restore a backup.") from None
    return model._base_manager.filter(pk=row.pk, **{field: before}).update(**{field: after})


def _wait_for_transactions() -> None:
    """Returns when every transaction is over that may have read the keys before they changed.

    Whoever seals does so inside a transaction that has begun to write: what such a one sealed
    with an older key is then to be seen, and is sealed anew like the rest.
    """
    deadline = time.monotonic() + PATIENCE_S
    try:
        if connection.vendor == "sqlite":
            with transaction.atomic():  # one writer at a time
                return
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            began = cursor.fetchone()
            while time.monotonic() < deadline:
                cursor.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND xact_start < %s LIMIT 1",
                    began,
                )
                if cursor.fetchone() is None:
                    return
                time.sleep(0.1)
    except OperationalError:
        pass
    raise RotationError("The database was busy or away all the time. Run this command again.")
