"""Where a person is signed in, and how that ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from xmailadmin.models import User

__all__ = ["SessionActivityMiddleware", "end_all", "sessions_of"]

NOTED_EVERY = timedelta(minutes=5)  # a row per request would be a write per request


class SessionActivityMiddleware:
    """Notes when and from where a session was used last, every few minutes."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.user.is_authenticated and request.session.session_key:
            noted = request.session.get("noted_at", 0)
            now = timezone.now()
            if now.timestamp() - noted > NOTED_EVERY.total_seconds():
                UserSession.objects.create_from_request(request)
                request.session["noted_at"] = now.timestamp()
        return response


def sessions_of(user: User) -> list[UserSession]:
    """Returns the sessions of a person that are still open, the last used first."""
    found: list[UserSession] = UserSession.objects.purge_and_list(user)
    return sorted(found, key=lambda session: session.last_seen_at, reverse=True)


def end_all(user: User, *, but: str | None = None) -> int:
    """Ends the sessions of a person, but for one; returns how many."""
    ended = 0
    for session in UserSession.objects.filter(user=user).exclude(session_key=but or ""):
        session.end()
        ended += 1
    return ended
