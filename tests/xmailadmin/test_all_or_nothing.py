"""Nothing is done that does not get into the audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse

from certs.models import Pair
from hosts.models import Host
from tests import people
from tests.factories import local_host
from xmailadmin import audit, oidc_settings
from xmailadmin.models import User

pytestmark = pytest.mark.django_db

NEW = "quite-another-passphrase"


@pytest.fixture
def taro() -> User:
    return people.person("operator", "administrator", username="taro")


@pytest.fixture
def taros(taro: User) -> Client:
    """Taro's, who has just shown a second factor; errors are pages."""
    client = people.signed_in(taro, confirmed=True)
    client.raise_request_exception = False
    return client


def held() -> Any:
    """What a deed could change, but for the session that it comes from."""
    users = User.objects.values_list("pk", "password", "is_active", "sessions_ended")
    factors = Authenticator.objects.values_list("pk", "data__name", "data__seed")
    return (
        sorted(users),
        sorted(factors, key=str),
        sorted(Host.objects.values_list("pk", "disabled")),
        Pair.objects.count(),
        SocialAccount.objects.count(),
        UserSession.objects.count(),
        Session.objects.count(),
    )


def test_what_cannot_be_put_on_record_is_not_done(
    taro: User,
    taros: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:
    for name, value in {
        "URL": "https://id.example.jp",
        "CLIENT_ID": "a",
        "CLIENT_SECRET": "b",
    }.items():
        monkeypatch.setenv(f"XMAILADMIN_OIDC_{name}", value)
    settings.SOCIALACCOUNT_PROVIDERS = oidc_settings.providers()
    hanako = people.person("viewer")
    Client().post(reverse("account_login"), {"login": "hanako", "password": people.PASSWORD})
    hers = Authenticator.objects.create(user=hanako, type="webauthn", data={"name": "green"})
    taros.post(reverse("mfa_generate_recovery_codes"))
    Authenticator.objects.create(user=taro, type="webauthn", data={"name": "blue"})
    elsewhere = people.signed_in(taro).session.session_key
    UserSession.objects.create(user=taro, session_key=elsewhere, ip="192.0.2.1")
    login = SocialAccount.objects.create(user=taro, provider="sso", uid="7")
    host, off = local_host(tmp_path, "mail1"), local_host(tmp_path, "mail2", disabled=True)
    key = Authenticator.objects.get(user=taro, type="webauthn")
    passwords = {"oldpassword": people.PASSWORD, "password1": NEW, "password2": NEW}
    deeds: list[tuple[str, list[int], dict[str, Any]]] = [
        ("account_change_password", [], passwords),
        ("mfa_generate_recovery_codes", [], {}),
        ("mfa_edit_webauthn", [key.pk], {"name": "red"}),
        ("socialaccount_connections", [], {"account": login.pk}),
        ("session_end", [], {}),
        ("person_sessions", [hanako.pk], {}),
        ("person_disable", [hanako.pk], {}),
        ("person_second_factor", [hanako.pk], {"factor": hers.pk}),
        ("host_disable", [host.pk], {}),
        ("host_enable", [off.pk], {}),
        ("host_delete", [host.pk], {}),
        ("mfa_remove_webauthn", [key.pk], {}),
        ("mfa_deactivate_totp", [], {}),
    ]

    def fail(*_arguments: Any) -> Any:
        raise DatabaseError("the disk is full")

    before = held()
    with monkeypatch.context() as patch:
        patch.setattr(audit, "record_all", fail)
        for name, arguments, data in deeds:
            with django_capture_on_commit_callbacks(execute=True):
                response = taros.post(reverse(name, args=arguments), data)
            assert response.status_code >= 500, name
            assert held() == before, name
    for name, arguments, data in deeds:  # and all of them are done otherwise
        response = taros.post(reverse(name, args=arguments), data)
        assert response.status_code == 302, name
        assert held() != before, name
        before = held()
