"""Signing in through the team's own OpenID Connect provider.

Only people who were invited get in: the first time, the provider's verified e-mail address must
be that of exactly one person here. Second factors of the portal are asked for all the same.
"""

from __future__ import annotations

from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from xmailadmin import limits
from xmailadmin.models import User

__all__ = ["SocialAccountAdapter"]


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Makes nobody an account, and leads people to the one they have."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        connecting = sociallogin.state.get("process") == AuthProcess.CONNECT
        if sociallogin.is_existing or connecting:
            return
        person = _invited(sociallogin)
        if person is None:
            limits.record_once(request, "single_sign_on.unknown")
            raise ImmediateHttpResponse(_unknown(request))
        sociallogin.connect(request, person)

    def on_authentication_error(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        limits.record_once(request, "single_sign_on.failed")
        page = render(request, "account/single_sign_on_failed.html", status=401)
        raise ImmediateHttpResponse(page)


def _invited(sociallogin: SocialLogin) -> User | None:
    """Returns the one person whose address the provider vouches for, and who has no login yet."""
    vouched = [address.email for address in sociallogin.email_addresses if address.verified]
    people = [person for email in vouched for person in User.objects.filter(email__iexact=email)]
    if len(people) != 1:
        return None
    provider = sociallogin.account.provider
    taken = SocialAccount.objects.filter(user=people[0], provider=provider).exists()
    return None if taken else people[0]


def _unknown(request: HttpRequest) -> HttpResponse:
    return render(request, "account/single_sign_on_unknown.html", status=403)
