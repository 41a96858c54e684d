"""The page for whatever no view has foreseen; it must need nothing that may be missing."""

from __future__ import annotations

import sqlite3
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader

from xmailadmin.logs import request_id

__all__ = ["server_error"]

RETRY_AFTER_S = 10
TOO_LARGE = "54"  # PostgreSQL's class of errors for what exceeds a limit of the program


def _asked_wrongly(error: Exception) -> bool:
    """True if the database is there, and says that the question is too large or makes no sense."""
    cause = error.__cause__
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG} or str(
        getattr(cause, "sqlstate", "")
    ).startswith(TOO_LARGE)


def server_error(request: HttpRequest) -> HttpResponse:
    """503 if the database is away or too busy to answer, else 500; both with the reference by
    which the log is searched."""
    error = sys.exc_info()[1]
    away = isinstance(error, OperationalError | InterfaceError) and not _asked_wrongly(error)
    page = loader.get_template("503.html" if away else "500.html")
    html = page.render({"reference": request_id()})
    if away:
        return HttpResponse(html, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
    return HttpResponse(html, status=500)
