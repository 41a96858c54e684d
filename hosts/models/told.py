"""What hosts told, as it is kept."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from hosts.messages import printable

__all__ = ["ToldField"]


class ToldField(models.JSONField):
    """JSON with texts of hosts, which are made printable on their way into the database.

    One NUL in the name of a certificate, and PostgreSQL takes nothing of the row.
    """

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return super().get_db_prep_save(_printable(value), connection)

    def deconstruct(self) -> Any:
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.JSONField", arguments, options  # the same column


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {name: _printable(each) for name, each in value.items()}
    return value
