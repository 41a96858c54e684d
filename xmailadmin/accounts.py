"""How people sign in: django-allauth, with accounts that only an administrator makes."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.account.internal.stagekit import clear_login
from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _

from xmailadmin import audit, limits, sessions
from xmailadmin.access import safe_next
from xmailadmin.models import AccessLink, User

# In the session: what the sessions of the account were compared with when a sign-in began.
BEGUN_WITH = "begun_with"
NOTHING_SAVED = _("The account was changed meanwhile. Nothing was saved.")


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

    def is_safe_url(self, url: str | None) -> bool:
        """Leads on within the portal only; the library takes other names of it, too."""
        from allauth.core import context

        return bool(safe_next(context.request, url or ""))

    def is_ajax(self, request: HttpRequest) -> bool:
        """Answers with pages only: the library's other answers hold what was typed."""
        return False

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Does nothing: authenticate() counts."""

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        counted = limits.begin(request, str(credentials.get("username", "")))
        try:
            user: User | None = super().authenticate(request, **credentials)
        except BaseException:
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
        """Remembers how the account was when a sign-in began that waits for a second factor."""
        # Somebody who knows the number of the session may have put it into the browser. (Signing in
        # ends with another one again.)
        request.session.cycle_key()
        request.session[BEGUN_WITH] = user.get_session_auth_hash()
        response: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return response

    def login(self, request: HttpRequest, user: User) -> None:
        """Signs in, unless the account was changed in a way that ends sessions meanwhile."""
        if (outdated := refuse_outdated(request, user)) is not None:
            raise ImmediateHttpResponse(outdated)
        request.session.pop(BEGUN_WITH)
        used = [str(record.get("method")) for record in get_authentication_records(request, user)]
        with transaction.atomic():
            super().login(request, user)
            sessions.begin(request)
            AccessLink.objects.filter(user=user).delete()  # who is in needs it no more
            audit.record(request, "signin", user, by=used)

    def set_password(self, user: User, password: str) -> None:
        """Sets it, and puts it on record, unless the account was changed since it was read.

        A hash takes its time, in which an administrator may shut the account or end its sessions.
        """
        from allauth.core import context

        unchanged = user.as_read()
        user.set_password(password)
        with transaction.atomic():
            if unchanged.update(password=user.password):
                AccessLink.objects.filter(user=user).delete()  # no other holder gets in any more
                audit.record(context.request, "password.changed", user)
                return
        messages.error(context.request, NOTHING_SAVED)
        raise ImmediateHttpResponse(redirect(context.request.path))

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


def refuse_outdated(request: HttpRequest, user: User) -> HttpResponse | None:
    """Ends a sign-in that waits if the account was changed since it began; the way to a new one."""
    now = User.objects.filter(pk=user.pk, is_active=True).first()
    begun_with = request.session.get(BEGUN_WITH, "")
    if now is not None and constant_time_compare(begun_with, now.get_session_auth_hash()):
        return None
    clear_login(request)
    request.session.pop(BEGUN_WITH, None)
    audit.record(request, "signin.outdated" if now is not None else "signin.refused", user)
    messages.error(request, _("The account was changed meanwhile. Please sign in again."))
    return redirect("account_login")
