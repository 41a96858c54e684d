"""What machines that watch the portal ask: is it alive, is it ready, what are its figures.

Nothing here tells anything that a stranger should not know; the figures need a token.
"""

from __future__ import annotations

import hmac

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from hosts import metrics
from hosts.health import look


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process lives and answers, whatever else is missing."""
    return JsonResponse({"status": "ok"})


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Each part by name; 503 if any of them is not in order."""
    health = look()
    return JsonResponse(
        {"status": "ok" if health.ready else "not ready", "parts": dict(health.parts)},
        status=200 if health.ready else 503,
    )


@login_not_required
@never_cache
@require_safe
def metrics_page(request: HttpRequest) -> HttpResponse:
    """The figures for Prometheus, for whoever has the token that the operator has set."""
    token = settings.METRICS_TOKEN
    if not token:
        raise Http404
    given = request.headers.get("Authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {token}".encode()):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    return HttpResponse(metrics.text(), content_type=metrics.CONTENT_TYPE)
