"""The page for whatever no view has foreseen; it must need nothing that may be missing."""

from __future__ import annotations

import sqlite3
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader

from xmailadmin.logs import request_id
from xmailadmin.vault import VaultError

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
    """503 if the database is away or too busy to answer, or the master key is not at hand, else
    500; each with the reference by which the log is searched."""
    error = sys.exc_info()[1]
    context = {"reference": request_id()}
    if isinstance(error, OperationalError | InterfaceError) and not _asked_wrongly(error):
        return _away("503.html", context)
    if isinstance(error, VaultError):
        return _away("503_master_key.html", context)
    return HttpResponse(loader.get_template("500.html").render(context), status=500)


def _away(template: str, context: dict[str, str]) -> HttpResponse:
    html = loader.get_template(template).render(context)
    return HttpResponse(html, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
