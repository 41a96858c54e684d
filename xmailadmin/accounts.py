"""How people sign in: django-allauth, with accounts that only an administrator makes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.stagekit import clear_login
from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _

from xmailadmin import audit, limits
from xmailadmin.hashing import Busy
from xmailadmin.models import User

# In the session: the hash of the password that began a sign-in, and when.
BEGUN_WITH, BEGUN_AT = "begun_with", "begun_at"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs up alone; wrong passwords are counted and recorded."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "too_many_login_attempts": _(
            "There were too many wrong attempts. Wait five minutes and try again."
        ),
        "enter_current_password": _("This is not your current password. Enter it again."),
    }
    # The words of the ways to confirm who one is, in the portal's own voice.
    METHODS = {
        "reauthenticate": _("Use your password"),
        "mfa_reauthenticate": _("Use your authenticator app or a recovery code"),
        "mfa_reauthenticate:webauthn": _("Use your security key"),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Does nothing: authenticate() counts."""

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        counted = limits.begin(request, str(credentials.get("username", "")))
        try:
            user: User | None = super().authenticate(request, **credentials)
        except Busy:
            limits.passed(counted)  # it was not looked at
            raise
        if user is not None:
            limits.passed(counted)
        else:
            limits.missed(counted)
        return user

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        limits.failed(request, str(credentials.get("username", "")))

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        """Remembers with which password a sign-in began that still waits for a second factor."""
        request.session[BEGUN_WITH] = user.get_session_auth_hash()
        request.session[BEGUN_AT] = int(timezone.now().timestamp() * 1000) / 1000  # as the audit
        response: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return response

    def login(self, request: HttpRequest, user: User) -> None:
        """Signs in, unless the password was changed or the account switched off meanwhile."""
        begun_with = request.session.pop(BEGUN_WITH, "")
        begun_at = datetime.fromtimestamp(request.session.pop(BEGUN_AT, 0), UTC)
        if _switched_off_since(user, begun_at):
            clear_login(request)
            audit.record(request, "signin.refused", user)
            told = _("The account was switched off meanwhile. Please sign in again.")
            messages.error(request, told)
            raise ImmediateHttpResponse(redirect("account_login"))
        if not constant_time_compare(begun_with, user.get_session_auth_hash()):
            clear_login(request)
            audit.record(request, "signin.outdated", user)
            messages.error(request, _("The password was changed meanwhile. Please sign in again."))
            raise ImmediateHttpResponse(redirect("account_login"))
        super().login(request, user)

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        audit.record(request, "signin.refused", user)
        response: HttpResponse = super().respond_user_inactive(request, user)
        return response

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, Any]]:
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        return [
            {**method, "description": self.METHODS.get(method["id"], method["description"])}
            for method in methods
        ]


def _switched_off_since(user: User, begun_at: datetime) -> bool:
    """True also if the account was switched on again."""
    if not User.objects.filter(pk=user.pk, is_active=True).exists():
        return True
    return audit.history_of(user).filter(action="person.disabled", at__gte=begun_at).exists()
