"""Pages about the person who is signed in, or is about to be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from allauth.account.internal.stagekit import unstash_login
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.views import ReauthenticateWebAuthnView
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from xmailadmin import audit, limits, people, sessions
from xmailadmin.access import FRESH_S, has_second_factor, is_fresh, safe_next
from xmailadmin.accounts import NOTHING_SAVED, refuse_outdated
from xmailadmin.forms import PasswordForm
from xmailadmin.models import AccessLink, User

__all__ = [
    "ConfirmByKey",
    "access_link",
    "account",
    "begun_lately",
    "choose_password",
    "continue_to",
    "second_factor_needed",
    "session_end",
    "session_list",
    "shown_once",
    "whole",
]

View = Callable[..., HttpResponse]

CONTINUE_KEY = "continue_to"  # in the session
# Which one-time link was opened, in a cookie of its own: a session may be somebody else's, too.
LINK_COOKIE = "__Host-link" if settings.HTTPS else "link"
LINK_SALT = "xmailadmin.link"


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """Shows the account with its preferences."""
    person = get_object_or_404(User, pk=request.user.pk)
    context = {
        "second_factor": has_second_factor(request),
        "recovery_codes": Authenticator.objects.filter(
            user=person, type=Authenticator.Type.RECOVERY_CODES
        ).exists(),
        "single_sign_on": bool(settings.SOCIALACCOUNT_PROVIDERS),
        "connected": SocialAccount.objects.filter(user=person).exists(),
        "open_sessions": UserSession.objects.filter(user=person).count(),
    }
    return render(request, "account/account.html", context)


def whole(view: View) -> View:
    """Has what is sent to the view done and put on record as one, while the account is as it was.

    Whoever ends its sessions meanwhile waits, or has done so before anything else is done.
    """

    @wraps(view)
    def as_one(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        with transaction.atomic():
            if _still(request):
                return view(request, *args, **kwargs)
        messages.error(request, NOTHING_SAVED)
        return redirect(request.path)

    return as_one


def _still(request: HttpRequest) -> bool:
    """Locks the account until the transaction ends; False if it is not what let the person in."""
    user = request.user
    return isinstance(user, User) and bool(user.as_read().select_for_update(no_key=True))


def begun_lately(view: View) -> View:
    """Ends a sign-in that waits for its second step if the account was changed since it began.

    The pages of the two steps would lead to each other if there is no second step any more.
    """

    @wraps(view)
    def unless_outdated(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        login = unstash_login(request, peek=True)
        if login is None:
            return view(request, *args, **kwargs)
        try:
            return refuse_outdated(request, login.user) or view(request, *args, **kwargs)
        except (Authenticator.DoesNotExist, DatabaseError):
            outdated = refuse_outdated(request, login.user)  # the factor has just been removed
            if outdated is None:
                raise
            return outdated

    return unless_outdated


class ConfirmByKey(ReauthenticateWebAuthnView):  # type: ignore[misc]
    """Asks for a security key again, and after a refusal too on the way to the same page.

    allauth itself leads to the page of signing in, and from there to the dashboard.
    """

    def form_invalid(self, form: Any) -> HttpResponse:
        for told in form.errors["credential"]:
            messages.error(self.request, told)
        return redirect(self.passthrough_next_url(self.request.path))


def shown_once(
    view: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Lets recovery codes be seen and downloaded only for a while after they were made."""

    @wraps(view)
    def within_time(request: HttpRequest) -> HttpResponse:
        codes = Authenticator.objects.filter(
            user_id=request.user.pk, type=Authenticator.Type.RECOVERY_CODES
        ).first()
        if codes is None or timezone.now() - codes.created_at < timedelta(seconds=FRESH_S):
            return view(request)
        told = _(
            "Recovery codes are shown only when they are made. Make new ones if you have lost them."
        )
        messages.info(request, told)
        return redirect("mfa_generate_recovery_codes")

    return within_time


@require_safe
def second_factor_needed(request: HttpRequest) -> HttpResponse:
    """Says what it takes to do what was asked for, and remembers where to go on afterwards."""
    wanted = safe_next(request, request.GET.get("next", ""))
    if is_fresh(request):
        return redirect(wanted or "account")
    if wanted:
        request.session[CONTINUE_KEY] = wanted
    context = {"has_second_factor": has_second_factor(request), "wanted": wanted}
    return render(request, "account/second_factor_needed.html", context)


@require_safe
def continue_to(request: HttpRequest) -> HttpResponse:
    """Leads to what a second factor was set up for."""
    return redirect(safe_next(request, request.session.pop(CONTINUE_KEY, "")) or "account")


@require_safe
def session_list(request: HttpRequest) -> HttpResponse:
    """Where the person is signed in."""
    person = get_object_or_404(User, pk=request.user.pk)
    context = {
        "sessions": sessions.sessions_of(person),
        "current": request.session.session_key,
    }
    return render(request, "account/session_list.html", context)


@require_POST
@transaction.atomic
def session_end(request: HttpRequest) -> HttpResponse:
    """Ends one of the person's other sessions, or all of them."""
    # The person first, as whatever else ends sessions does.
    person = get_object_or_404(User.objects.select_for_update(no_key=True), pk=request.user.pk)
    chosen = request.POST.get("session", "")
    if chosen:
        number = int(chosen) if chosen.isdecimal() and len(chosen) < 19 else 0
        others = UserSession.objects.filter(user=person).exclude(
            session_key=request.session.session_key
        )
        get_object_or_404(others, pk=number).end()
        ended = 1
    else:
        ended = sessions.end_all(person, keep=request)
    if ended:
        audit.record(request, "sessions.ended", person, sessions=ended)
    messages.success(request, _("The sessions have ended."))
    return redirect("session_list")


@never_cache
@login_not_required
@require_safe
def access_link(request: HttpRequest, token: str) -> HttpResponse:
    """Takes a one-time link, and at once leads to an address without the token in it."""
    link = people.link_for(token)
    if link is None:
        return render(request, "account/access_link_invalid.html", status=404)
    response = redirect("choose_password")
    response.set_signed_cookie(
        LINK_COOKIE,
        f"{link.pk}:{link.token_sha256}",
        salt=LINK_SALT,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


@never_cache
@login_not_required
@sensitive_post_parameters()
@require_http_methods(("GET", "HEAD", "POST"))
def choose_password(request: HttpRequest) -> HttpResponse:
    """Lets the person of a one-time link choose a password; signing in comes after."""
    opened = request.get_signed_cookie(
        LINK_COOKIE, "0:", salt=LINK_SALT, max_age=settings.SESSION_COOKIE_AGE
    )
    pk, _colon, token_sha256 = str(opened).partition(":")
    link = AccessLink.objects.filter(pk=pk, token_sha256=token_sha256).first()
    if link is None or not link.valid:
        return render(request, "account/access_link_invalid.html", status=404)
    form = PasswordForm(link.user, request.POST or None)
    name = link.user.get_username()
    if request.POST.get("username", name) != name:
        form.add_error(None, _("This form was for another account. See for which one this is."))
    if request.method == "POST" and form.is_valid():
        if not people.accept(request, link, form.cleaned_data["new_password1"]):
            return render(request, "account/access_link_invalid.html", status=404)
        if request.user.pk == link.user_id:  # that session has ended with all others
            request.session.flush()
            request.user = AnonymousUser()
        if request.user.is_authenticated:  # somebody else, perhaps, who tries the link
            messages.success(request, _("The password of %(name)s is set.") % {"name": name})
        else:
            messages.success(request, _("Your password is set. Sign in with it."))
        response = redirect("account_login")
        # Whoever had the link is the person: no stranger's wrong attempts keep this browser out.
        limits.remember_device(request, response, link.user, anew=True)
        response.delete_cookie(LINK_COOKIE, samesite="Lax")
        return response
    return render(request, "account/choose_password.html", {"form": form, "person": link.user})
