"""Django's test client, holding a session as the portal's cookies do: signed."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.test.client import ClientMixin

from xmailadmin import sessions

__all__ = ["install"]


def install() -> None:
    """Has every test client of this process do so; once."""
    name = settings.SESSION_COOKIE_NAME
    log_in = ClientMixin._set_login_cookies  # type: ignore[attr-defined]

    def session(client: Any) -> Any:
        if name not in client.cookies:
            made = sessions.SessionStore()
            made.save()
            client.cookies[name] = sessions.as_cookie(str(made.session_key))
        return sessions.SessionStore(sessions.in_cookie(client.cookies[name].value))

    def signed(client: Any, request: Any) -> None:
        log_in(client, request)
        client.cookies[name] = sessions.as_cookie(request.session.session_key)

    ClientMixin.session = property(session)  # type: ignore[assignment]
    ClientMixin._set_login_cookies = signed  # type: ignore[attr-defined]
