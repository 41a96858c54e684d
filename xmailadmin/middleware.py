"""Small request middleware of the portal."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from whitenoise.middleware import WhiteNoiseMiddleware

from xmailadmin.hashing import Busy

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise, answering with whole files: it streams them by synchronous iterators, against
    which Django warns under ASGI, and ours are small."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        streamed = WhiteNoiseMiddleware.serve(static_file, request)
        content = b"".join(streamed)
        whole = HttpResponse(content, status=streamed.status_code, headers=dict(streamed.items()))
        if content:  # the length that WhiteNoise noted at the start is wrong after an upgrade
            whole["Content-Length"] = str(len(content))
        streamed.close()
        return whole


class ViewerTimeZoneMiddleware:
    """Shows times in the zone that the viewer's browser told by the `tz` cookie (app.js)."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            zone = zoneinfo.ZoneInfo(request.COOKIES.get("tz", ""))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            timezone.deactivate()
        else:
            timezone.activate(zone)
        return self.get_response(request)


class NoStoreMiddleware:
    """Keeps pages of a signed-in person out of every cache, the browser's included."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.user.is_authenticated and "Cache-Control" not in response.headers:
            add_never_cache_headers(response)
        return response


class BusyMiddleware:
    """Asks whoever's password found no turn to try again."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, Busy):
            return None
        response = render(request, "busy.html", status=503)
        response.headers["Retry-After"] = "10"
        return response
