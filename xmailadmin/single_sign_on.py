"""Signing in through the team's own OpenID Connect provider.

Only people who were invited get in: the first time, the provider's verified e-mail address must
be that of exactly one person here. Second factors of the portal are asked for all the same.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.base import AuthProcess
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from xmailadmin import audit, limits
from xmailadmin.models import AccessLink, User
from xmailadmin.oidc import Bounded

__all__ = ["SocialAccountAdapter", "connect", "found", "harden"]

logger = logging.getLogger(__name__)

FOUND = "single_sign_on_found"  # in the session: who is to be connected, once that is confirmed
FOUND_S = 600


def harden() -> None:
    """Has the library bring back no login that was disconnected while somebody came in by it."""
    SocialAccount.save = _save


_saved = SocialAccount.save


def _save(self: SocialAccount, *args: Any, **options: Any) -> None:
    if not self._state.adding:  # or Django would make a new row of one that is gone
        options["force_update"] = True
    try:
        with transaction.atomic():
            _saved(self, *args, **options)
    except IntegrityError:
        raise
    except DatabaseError:
        if self._state.adding or SocialAccount.objects.filter(pk=self.pk).exists():
            raise
        raise PermissionDenied(audit.SHUT_OUT) from None


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Makes nobody an account, and leads people to the one they have."""

    def get_requests_session(self) -> Any:
        session = super().get_requests_session()
        for scheme in ("https://", "http://"):
            session.mount(scheme, Bounded())
        return session

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        account = sociallogin.account
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            raise ImmediateHttpResponse(_ask_whether_to_connect(request, account))
        if sociallogin.is_existing:
            return
        person = _invited(account)
        if person is None or not connect(request, account, person):
            limits.record_once(request, "single_sign_on.unknown")
            raise ImmediateHttpResponse(_unknown(request))
        sociallogin.user = account.user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        if exception is not None:
            logger.warning("Single sign-on failed: %s", exception)
        limits.record_once(request, "single_sign_on.failed")
        page = render(request, "account/single_sign_on_failed.html", status=401)
        raise ImmediateHttpResponse(page)


def connect(request: HttpRequest, account: SocialAccount, person: User) -> bool:
    """Lets the person sign in with this login; False if either has another one already."""
    with transaction.atomic():
        active = (
            User.objects.select_for_update(no_key=True).filter(pk=person.pk, is_active=True).first()
        )
        others = SocialAccount.objects.filter(provider=account.provider)
        if active is None or others.filter(user=active).exists():
            return False
        if others.filter(uid=account.uid).exists():
            return False
        account.user = active
        try:
            with transaction.atomic():
                account.save()
        except IntegrityError:  # somebody else connected it in this very moment
            return False
        audit.record(request, "single_sign_on.connected", active)
    return True


def found(request: HttpRequest) -> SocialAccount | None:
    """Returns the login that waits for its person to confirm that it be connected."""
    kept = request.session.get(FOUND, {})
    if not 0 <= time.time() - kept.get("at", 0) < FOUND_S:
        return None
    names = ("provider", "uid", "extra_data")
    return SocialAccount(**{name: kept[name] for name in names})


def _ask_whether_to_connect(request: HttpRequest, account: SocialAccount) -> HttpResponse:
    """Leads to where the person is told whose login it is: the provider chose, not the person."""
    same = SocialAccount.objects.filter(provider=account.provider, uid=account.uid).first()
    if same is not None and same.user_id == request.user.pk:
        messages.info(request, _("Your account is connected."))
    elif same is not None:
        messages.error(request, _("Somebody else here is connected with that account already."))
    else:
        kept = {"provider": account.provider, "uid": account.uid, "extra_data": account.extra_data}
        request.session[FOUND] = {**kept, "at": time.time()}
        return redirect("socialaccount_confirm")
    return redirect("socialaccount_connections")


def _invited(account: SocialAccount) -> User | None:
    """Returns the one person whose address the provider vouches for.

    The address is compared here, but for the case of ASCII letters: to a database, other letters
    may be the same as some of these. An invitation that has ended counts no more.
    """
    said = account.extra_data["userinfo"]
    address = said.get("email", "").encode().lower()
    if not address or said["email_verified"] is not True:
        return None
    alike = User.objects.filter(email__iexact=said["email"], is_active=True)
    people = [person for person in alike if person.email.encode().lower() == address]
    if len(people) != 1:
        return None
    person = people[0]
    has_come = person.last_login is not None or person.has_usable_password()
    return person if has_come or _has_link(person) else None


def _has_link(person: User) -> bool:
    return any(link.valid for link in AccessLink.objects.filter(user=person))


def _unknown(request: HttpRequest) -> HttpResponse:
    return render(request, "account/single_sign_on_unknown.html", status=403)
