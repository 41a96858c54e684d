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

    def refusal(self) -> str:
        """Returns why no connection is to be had, in one line; "" if one is.

        The pool tells only how long it has waited, so the server is asked once without it.
        """
        try:
            psycopg.connect(**self.get_connection_params()).close()
        except psycopg.Error as error:
            return " ".join(str(error).split())
        return ""
