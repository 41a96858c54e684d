"""The page for whatever no view has foreseen; it must need nothing that may be missing."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template import loader

from xmailadmin.logs import request_id

__all__ = ["server_error"]

RETRY_AFTER_S = 10


def server_error(request: HttpRequest) -> HttpResponse:
    """503 if the database is away or too busy to answer, else 500; both with the reference by
    which the log is searched."""
    error = sys.exc_info()[1]
    away = isinstance(error, OperationalError | InterfaceError)
    page = loader.get_template("503.html" if away else "500.html")
    html = page.render({"reference": request_id()})
    if away:
        return HttpResponse(html, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
    return HttpResponse(html, status=500)
