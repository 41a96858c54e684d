"""People with roles, signed in as the portal would have it."""

from __future__ import annotations

import time

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.test import Client

from xmailadmin import roles, vault
from xmailadmin.models import User

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PASSWORD = "correct-horse-battery-staple"


def person(*names: str, username: str = "hanako") -> User:
    """A person who has these roles."""
    user = User.objects.create_user(username, password=PASSWORD)
    roles.give(user, names)
    return user


def set_up_second_factor(user: User, secret: str = SECRET) -> Authenticator:
    """An authenticator app that holds `secret`."""
    vault.create_master_key()
    authenticator: Authenticator = TOTP.activate(user, secret).instance
    return authenticator


def code(secret: str = SECRET, steps: int = 0) -> str:
    """What the authenticator app shows now."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps)))


def signed_in(user: User, *, confirmed: bool = False, ago_s: float = 0) -> Client:
    """A browser in which this person is signed in; `confirmed` with a second factor just shown."""
    client = Client()
    sign_in(client, user, confirmed=confirmed, ago_s=ago_s)
    return client


def sign_in(client: Client, user: User, *, confirmed: bool = False, ago_s: float = 0) -> None:
    """Signs the person in, in this browser."""
    client.force_login(user)
    session = client.session
    session["noted_at"] = time.time()
    shown = [{"method": "password", "username": user.username, "at": time.time() - ago_s}]
    if confirmed:
        if not Authenticator.objects.filter(user=user).exists():
            set_up_second_factor(user)
        shown.append({"method": "mfa", "reauthenticated": True, "at": time.time() - ago_s})
    session[AUTHENTICATION_METHODS_SESSION_KEY] = shown
    session[f"{AUTHENTICATION_METHODS_SESSION_KEY}_user"] = str(user.pk)
    session.save()
