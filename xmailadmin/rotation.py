"""Seals every secret anew with the first master key, while the portal goes on working.

Each row is written only if it still holds what was read, so that nothing is lost to whoever changes
a secret meanwhile. A rotation that was killed is simply run again: what is done is not done twice,
and at every moment each secret opens, for the old keys stay at hand until nothing needs them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models

from xmailadmin import audit, vault

__all__ = ["finish", "rewrap", "sealed_fields", "with_secret"]

BATCH = 200  # rows
# How long a process that read the keys just before the new one came may still seal with the old.
SETTLE_S = 2.0


def sealed_fields() -> Iterator[tuple[type[models.Model], str]]:
    """Yields every field that holds sealed secrets: all whose name ends in `_sealed`."""
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if field.name.endswith("_sealed"):
                yield model, field.name


def with_secret(model: type[models.Model], field: str) -> models.QuerySet[Any]:
    """Returns the rows of `model` whose `field` holds a secret."""
    return model._default_manager.exclude(**{field: ""}).order_by("pk")


def rewrap() -> Iterator[int]:
    """Seals anew whatever an old key sealed; yields how many secrets each batch brought over.

    Raises vault.VaultError if a secret cannot be opened; what was done until then stays done.
    """
    current = vault.key_ids()[0]
    for model, field in sealed_fields():
        old = with_secret(model, field).exclude(**{f"{field}__startswith": f"v1.{current}."})
        last = 0
        while rows := list(old.filter(pk__gt=last)[:BATCH]):
            yield sum(_rewrap_row(model, row, field) for row in rows)
            last = rows[-1].pk


def finish() -> int:
    """Rewraps until nothing is left on an old key, drops the old keys and returns the count.

    Old keys that come from the environment stay there: only a person can take them away.
    """
    total = 0
    while True:
        done = sum(rewrap())
        total += done
        if not done:
            break
        time.sleep(SETTLE_S)
    audit.record(None, "vault.rotate", secrets=total, key=vault.key_ids()[0])
    return total


def _rewrap_row(model: type[models.Model], row: models.Model, field: str) -> int:
    before = getattr(row, field)
    place = vault.place(row, field)
    after = vault.seal(vault.open_sealed(before, place), place)
    unchanged = model._default_manager.filter(pk=row.pk, **{field: before})
    return unchanged.update(**{field: after})
