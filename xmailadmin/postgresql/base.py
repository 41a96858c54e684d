"""Django's backend for PostgreSQL, which leaves a server alone that just did not answer."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db.backends.postgresql import base

from xmailadmin.postgresql.connection import Patience


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if Patience.spent():
            raise psycopg.OperationalError("the database did not answer a moment ago")
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError:
            Patience.lost()
            raise
