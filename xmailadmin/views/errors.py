"""What errors look like where Django's own handlers do not say enough to the record."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from xmailadmin import limits

__all__ = ["csrf_failure"]


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Refuses a form that did not come from one of our pages; a signed-in person's is recorded."""
    if request.user.is_authenticated:
        limits.record_few(request, "access.forged")
    return render(request, "403_csrf.html", status=403)
