"""An administrator who invites people, and what people do with a one-time link."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests import people
from xmailadmin.models import User

__all__ = ["NEW_PASSWORD", "administrator", "boss", "choose", "invite", "sign_in"]

NEW_PASSWORD = "quite-another-passphrase"


@pytest.fixture
def boss() -> User:
    return people.person("administrator", username="boss")


@pytest.fixture
def administrator(boss: User) -> Client:
    """An administrator who has just shown a second factor."""
    return people.signed_in(boss, confirmed=True)


def invite(administrator: Client, *role_names: str, name: str = "taro", email: str = "") -> str:
    """Invites a person and returns the path of the link that is shown."""
    data = {"username": name, "email": email, "roles": role_names or ("operator",)}
    page = administrator.post(reverse("person_invite"), data)
    found = re.search(r"http://localhost:8000(/account/link/[\w-]+/)", page.content.decode())
    assert found
    assert page.headers["Cache-Control"] == "no-store"
    return found[1]


def choose(path: str, password: str = NEW_PASSWORD, browser: Client | None = None) -> Any:
    """Opens a one-time link and chooses a password."""
    browser = browser or Client()
    page = browser.get(path, follow=True)
    if page.status_code != 200:
        return page
    data = {"new_password1": password, "new_password2": password}
    return browser.post(reverse("choose_password"), data)


def sign_in(name: str, password: str) -> Client:
    browser = Client()
    browser.post(reverse("account_login"), {"login": name, "password": password})
    return browser
