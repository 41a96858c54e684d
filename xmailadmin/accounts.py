"""How people sign in: django-allauth, with accounts that only an administrator makes."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs up alone."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
