"""Puts on record who signs in and out, and every change to how a person does."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account
from allauth.account.internal.flows.login import record_authentication
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.socialaccount import signals as social
from django.contrib import messages
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest
from django.utils.translation import gettext as _

from xmailadmin import audit, limits, second_factor, sessions
from xmailadmin.models import User

__all__ = ["connect"]

ID = "xmailadmin.sign_in_record"


def connect() -> None:
    """Connects everything here; called once, when the applications are ready."""
    for signal, receiver in (
        (account.user_logged_in, _signed_in),
        (user_logged_out, _signed_out),
        (account.authentication_step_completed, _confirmed),
        (social.social_account_removed, _login_disconnected),
    ):
        signal.connect(receiver, dispatch_uid=f"{ID}{receiver.__name__}")
    post_save.connect(_factor_made, sender=Authenticator, dispatch_uid=ID)
    post_delete.connect(_factor_gone, sender=Authenticator, dispatch_uid=ID)


def _signed_in(request: HttpRequest, user: User, response: Any = None, **_kwargs: Any) -> None:
    if response is not None:
        limits.remember_device(request, response, user)


def _signed_out(request: HttpRequest, user: User | None, **_kwargs: Any) -> None:
    if user is not None:
        audit.record(request, "signout", user)


def _confirmed(
    request: HttpRequest, user: User, method: str, reauthenticated: bool = False, **_kwargs: Any
) -> None:
    if reauthenticated:
        audit.record(request, "signin.confirmed", user, by=[method])


def _factor_made(instance: Authenticator, created: bool, **_kwargs: Any) -> None:
    """Before anything that the library puts off until the commit: the entry is part of the deed."""
    request = context.request
    if not created or request is None:
        return
    user = instance.user
    ended = _end_weaker_sessions(request, user, instance)
    audit.record(request, "second_factor.added", user, kind=instance.type, sessions=ended or None)
    _tell(request, ended)
    if instance.type != Authenticator.Type.RECOVERY_CODES:
        # Whoever has just set it up has just shown it.
        record_authentication(request, user, "mfa", id=instance.pk, type=instance.type)


def _factor_gone(instance: Authenticator, **_kwargs: Any) -> None:
    second_factor.forget_secrets(instance)
    request = context.request
    if request is None or request.user.pk != instance.user_id:
        return
    user, ended = instance.user, 0
    if instance.type != Authenticator.Type.RECOVERY_CODES:  # they began with what is no more
        ended = sessions.end_all(user, keep=request)
    audit.record(request, "second_factor.removed", user, kind=instance.type, sessions=ended or None)
    _tell(request, ended)


def _end_weaker_sessions(request: HttpRequest, user: User, added: Authenticator) -> int:
    """Ends the person's other sessions after a first factor: they began with a password alone."""
    older = Authenticator.objects.filter(user=user, pk__lt=added.pk)
    if older.exclude(type=Authenticator.Type.RECOVERY_CODES).exists():
        return 0
    return sessions.end_all(user, keep=request)


def _tell(request: HttpRequest, ended: int) -> None:
    if ended:
        messages.info(request, _("Wherever else you were signed in, you are signed out now."))


def _login_disconnected(request: HttpRequest, socialaccount: Any, **_kwargs: Any) -> None:
    audit.record(request, "single_sign_on.disconnected", socialaccount.user)
