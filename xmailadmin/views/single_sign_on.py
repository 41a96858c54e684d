"""The ways to the team's OpenID Connect provider and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.decorators import reauthentication_required
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.base import AuthProcess, ProviderException
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from xmailadmin import limits, single_sign_on
from xmailadmin.access import safe_next
from xmailadmin.models import User
from xmailadmin.oidc import Answers
from xmailadmin.oidc_settings import PROVIDER_ID

__all__ = ["callback", "confirm", "confirmed", "connect", "start"]

STARTS_A_MINUTE = 30  # from one address: each writes a session, and may ask the provider
CONNECTING = "single_sign_on_connecting"  # in the session: when a form of ours began to connect
CONNECTING_S = 60

View = Callable[[HttpRequest], HttpResponse]
confirmed: Callable[[View], View] = reauthentication_required(app="allauth.socialaccount")


def _answered(
    view: Callable[[HttpRequest, Any], HttpResponse],
) -> Callable[[HttpRequest, str], HttpResponse]:
    """Hands over the provider, and says in words that it failed."""

    @wraps(view)
    def answered(request: HttpRequest, provider_id: str) -> HttpResponse:
        provider = _provider(request, provider_id)
        try:
            return view(request, provider)
        except ProviderException as error:
            told: HttpResponse = render_authentication_error(request, provider, exception=error)
            return told

    return answered


def _provider(request: HttpRequest, provider_id: str) -> Any:
    try:
        provider = get_adapter().get_provider(request, provider_id)
    except SocialApp.DoesNotExist:
        raise Http404 from None
    provider.oauth2_adapter_class = Answers
    return provider


@never_cache
@login_not_required
@require_safe
@_answered
def start(request: HttpRequest, provider: Any) -> HttpResponse:
    """Leads to the provider. What it is asked is not for a link to choose, only what comes next."""
    if limits.too_many(request, "single_sign_on", STARTS_A_MINUTE):
        response = render(request, "429.html", status=429)
        response.headers["Retry-After"] = str(limits.COUNTED_S)
        return response
    if request.GET.get("process") == AuthProcess.CONNECT:
        began = request.session.pop(CONNECTING, 0)
        if not 0 <= time.time() - began < CONNECTING_S:
            return redirect("socialaccount_connections")
        return _leave(request, provider, AuthProcess.CONNECT)
    return _leave(
        request, provider, AuthProcess.LOGIN, safe_next(request, request.GET.get("next", ""))
    )


def _leave(request: HttpRequest, provider: Any, process: str, then: str = "") -> HttpResponse:
    response: HttpResponse = provider.redirect(request, process=process, next_url=then or None)
    return response


@never_cache
@login_not_required
@require_safe
@_answered
def callback(request: HttpRequest, provider: Any) -> HttpResponse:
    """Takes what the provider answers."""
    view = OAuth2CallbackView.adapter_view(provider.get_oauth2_adapter(request))
    response: HttpResponse = view(request)
    return response


@require_http_methods(("GET", "HEAD", "POST"))
@confirmed
def connect(request: HttpRequest) -> HttpResponse:
    """Begins to connect a login: only this form does, no link.

    The page then goes on by itself; a form must not lead away from the portal (its CSP says so).
    """
    provider = _provider(request, PROVIDER_ID)
    if request.method != "POST":
        return redirect("socialaccount_connections")
    request.session[CONNECTING] = time.time()
    address = f"{reverse('openid_connect_login', args=[PROVIDER_ID])}?process={AuthProcess.CONNECT}"
    context = {"provider": provider, "address": address}
    response = render(request, "socialaccount/leaving.html", context)
    response.headers["Refresh"] = f"0; url={address}"
    return response


@never_cache
@require_http_methods(("GET", "HEAD", "POST"))
@confirmed
def confirm(request: HttpRequest) -> HttpResponse:
    """Says whose login it is, and connects it when the person says so."""
    account = single_sign_on.found(request)
    person = get_object_or_404(User, pk=request.user.pk)
    if account is None:
        return redirect("socialaccount_connections")
    if request.method == "POST":
        del request.session[single_sign_on.FOUND]
        if single_sign_on.connect(request, account, person):
            messages.success(request, _("Your account is connected."))
        else:
            told = _("Nothing was connected: disconnect the login that you have first.")
            messages.error(request, told)
        return redirect("socialaccount_connections")
    said = account.extra_data["userinfo"]
    facts = [
        (_("E-mail address"), said.get("email")),
        (_("Name"), said.get("name") or said.get("preferred_username")),
        (_("ID at the provider"), account.uid),
    ]
    context = {
        "provider": _provider(request, PROVIDER_ID),
        "facts": facts,
        "person": person,
        "confirm": _("Connect this login"),
        "cancel_url": reverse("socialaccount_connections"),
    }
    return render(request, "socialaccount/confirm.html", context)
