"""Where a person is signed in, and how that ends.

This module is Django's SESSION_ENGINE, too: a session lasts from its sign-in, however it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions import middleware
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import PermissionDenied
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from xmailadmin.audit import SHUT_OUT
from xmailadmin.models import User

__all__ = [
    "SessionActivityMiddleware", "SessionMiddleware", "SessionStore", "as_cookie", "begin",
    "end_all", "in_cookie", "sessions_of",
]  # fmt: skip

NOTED_EVERY = timedelta(minutes=5)  # a row per request would be a write per request
SIGNED_IN_AT = "signed_in_at"  # in the session, in seconds


class SessionStore(db.SessionStore):
    """Django's in the database, but that a session does not last longer by being used."""

    def get_expiry_date(self, **kwargs: Any) -> datetime:
        usual = super().get_expiry_date(**kwargs)
        began = self.get(SIGNED_IN_AT)
        if began is None:
            return usual
        return min(usual, datetime.fromtimestamp(began + settings.SESSION_COOKIE_AGE, UTC))


def as_cookie(key: str) -> str:
    """Returns what a browser holds for a session: its key in the database, signed.

    So nobody gets into a session by having read the database: that takes the secret key, too.
    """
    return Signer(salt="xmailadmin.session").sign(key)


def in_cookie(value: str) -> str | None:
    """Returns the key of the session that a browser holds, None where we did not sign it."""
    try:
        return Signer(salt="xmailadmin.session").unsign(value)
    except BadSignature:
        return None


class SessionMiddleware(middleware.SessionMiddleware):
    """Django's, with cookies that are signed."""

    def process_request(self, request: HttpRequest) -> None:
        sent = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        request.session = self.SessionStore(in_cookie(sent))

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        response = super().process_response(request, response)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and cookie.value:  # else it is to be forgotten
            response.cookies[settings.SESSION_COOKIE_NAME] = as_cookie(cookie.value)
        return response


def begin(request: HttpRequest) -> None:
    """Notes when somebody signed in: from then on the session lasts SESSION_COOKIE_AGE."""
    request.session[SIGNED_IN_AT] = timezone.now().timestamp()


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


def end_all(user: User, *, keep: HttpRequest | None = None) -> int:
    """Ends the sessions of a person, and the sign-ins that wait; returns how many sessions.

    The session of the request to `keep` goes on if it is this person's. Whatever writes a session
    at the same moment, one that was begun before is not taken any more. Raises PermissionDenied
    if the one to keep has been ended itself.
    """
    others = UserSession.objects.filter(user=user)
    asking = keep.user if keep is not None and keep.user.pk == user.pk else None
    with transaction.atomic():
        if keep is not None and isinstance(asking, User):
            others = others.exclude(session_key=keep.session.session_key)
            if not asking.as_read().select_for_update(no_key=True):
                raise PermissionDenied(SHUT_OUT)
        User.objects.filter(pk=user.pk).update(sessions_ended=F("sessions_ended") + 1)
        user.refresh_from_db(fields=["sessions_ended"])
        ended = list(others)
        for session in ended:
            session.end()
        if keep is not None and isinstance(asking, User):
            asking.sessions_ended = user.sessions_ended
            keep.session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            try:
                keep.session.save()  # at once: other requests of this session may be under way
            except UpdateError:
                raise PermissionDenied(SHUT_OUT) from None
    return len(ended)
