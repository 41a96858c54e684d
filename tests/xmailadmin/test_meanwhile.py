"""What a person does is not done once somebody has decided about the account meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from allauth.core.context import request_context
from allauth.mfa.models import Authenticator
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import reverse

from tests import people
from xmailadmin import people as team
from xmailadmin import roles, sessions
from xmailadmin.models import AccessLink, AuditEntry, User
from xmailadmin.second_factor import EditWebAuthnForm

pytestmark = pytest.mark.django_db

NEW = "quite-another-passphrase"
CHANGED = "was changed meanwhile"


@pytest.fixture
def hanako() -> User:
    return people.person("operator")


@pytest.fixture
def by(rf: RequestFactory) -> Any:
    """What an administrator sent."""
    request = rf.post("/")
    request.user = people.person("administrator", username="boss")
    return request


@pytest.fixture
def while_hashing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Has something happen, once, while a password's hash is made."""

    def arrange(deed: Callable[[], Any]) -> None:
        usual = User.set_password

        def slow(user: User, password: str | None) -> None:
            monkeypatch.setattr(User, "set_password", usual)
            deed()
            user.set_password(password)

        monkeypatch.setattr(User, "set_password", slow)

    return arrange


def change_password(browser: Client) -> Any:
    data = {"oldpassword": people.PASSWORD, "password1": NEW, "password2": NEW}
    return browser.post(reverse("account_change_password"), data)


def test_a_password_change_opens_no_account_that_is_shut_meanwhile(
    hanako: User, by: Any, while_hashing: Any
) -> None:
    browser = people.signed_in(hanako)
    while_hashing(lambda: team.disable(by, User.objects.get(pk=hanako.pk)))
    change_password(browser)
    hanako.refresh_from_db()
    assert not hanako.is_active
    assert hanako.check_password(people.PASSWORD)
    assert browser.get("/").status_code == 302
    assert not AuditEntry.objects.filter(action="password.changed").exists()


def test_a_password_change_keeps_no_session_that_is_ended_meanwhile(
    hanako: User, while_hashing: Any
) -> None:
    browser = people.signed_in(hanako)
    while_hashing(lambda: sessions.end_all(User.objects.get(pk=hanako.pk)))
    change_password(browser)
    assert browser.get("/").status_code == 302
    assert User.objects.get(pk=hanako.pk).check_password(people.PASSWORD)


def test_a_password_change_gives_back_no_role(hanako: User, by: Any, while_hashing: Any) -> None:
    User.objects.filter(pk=hanako.pk).update(is_superuser=True, is_staff=True)
    browser = people.signed_in(User.objects.get(pk=hanako.pk))
    while_hashing(lambda: team.change_roles(by, User.objects.get(pk=hanako.pk), ["viewer"]))
    change_password(browser)
    hanako.refresh_from_db()
    assert not hanako.is_superuser
    assert hanako.check_password(NEW)
    assert [role.name for role in roles.roles_of(hanako)] == ["viewer"]


def test_the_password_of_a_link_is_not_replaced_by_a_change_that_began_before(
    hanako: User, by: Any, while_hashing: Any
) -> None:
    browser = people.signed_in(hanako)
    team.make_link(by, hanako)
    link = AccessLink.objects.get(user=hanako)
    while_hashing(lambda: team.accept(by, link, "chosen-by-the-real-person"))
    change_password(browser)
    assert User.objects.get(pk=hanako.pk).check_password("chosen-by-the-real-person")
    assert browser.get("/").status_code == 302


def test_a_hash_that_is_renewed_replaces_no_other_password(hanako: User) -> None:
    stale = User.objects.get(pk=hanako.pk)
    stale.password = stale.password.replace("m=102400", "m=51200")  # as of an older version
    hanako.set_password(NEW)
    hanako.save()
    stale.check_password(people.PASSWORD)
    assert User.objects.get(pk=hanako.pk).check_password(NEW)


# --- Second factors -----------------------------------------------------------------------------


@pytest.fixture
def key(hanako: User) -> Authenticator:
    data = {"name": "blue", "credential": {}}
    made: Authenticator = Authenticator.objects.create(user=hanako, type="webauthn", data=data)
    return made


def test_renaming_a_key_brings_it_not_back(key: Authenticator, by: Any) -> None:
    form = EditWebAuthnForm({"name": "red"}, instance=key)
    Authenticator.objects.all().delete()
    assert form.is_valid()
    with request_context(by), pytest.raises(Http404):
        form.save()
    assert not Authenticator.objects.exists()


def test_renaming_a_key_changes_nothing_else(key: Authenticator, by: Any) -> None:
    form = EditWebAuthnForm({"name": "red"}, instance=key)
    Authenticator.objects.update(data={**key.data, "counter": 7})
    assert form.is_valid()
    with request_context(by):
        form.save()
    assert Authenticator.objects.get().data == {**key.data, "name": "red", "counter": 7}
    assert AuditEntry.objects.filter(action="second_factor.renamed").exists()


def test_no_second_factor_is_added_while_an_administrator_removes_them(
    hanako: User, by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.set_up_second_factor(hanako)
    browser = people.signed_in(hanako, confirmed=True)
    usual = User.as_read

    def late(user: User) -> Any:
        monkeypatch.setattr(User, "as_read", usual)
        team.remove_second_factor(by, User.objects.get(pk=hanako.pk))
        return user.as_read()

    monkeypatch.setattr(User, "as_read", late)
    browser.post(reverse("mfa_generate_recovery_codes"))
    assert not Authenticator.objects.filter(user=hanako).exists()
    assert browser.get("/").status_code == 302


def test_removing_the_second_factor_ends_a_sign_in_that_waits_for_it(hanako: User, by: Any) -> None:
    people.set_up_second_factor(hanako)
    waiting = Client()
    login = reverse("account_login")
    waiting.post(login, {"login": "hanako", "password": people.PASSWORD})
    team.remove_second_factor(by, hanako)
    for address in (reverse("mfa_authenticate"), login):
        page = waiting.get(address, follow=True)
        assert page.status_code == 200
        assert page.request["PATH_INFO"] == login
    people.set_up_second_factor(hanako)
    waiting.post(reverse("mfa_authenticate"), {"code": people.code()})
    assert waiting.get("/").status_code == 302


def test_the_page_says_why_a_sign_in_has_ended(hanako: User) -> None:
    people.set_up_second_factor(hanako)
    waiting = Client()
    login = reverse("account_login")
    waiting.post(login, {"login": "hanako", "password": people.PASSWORD})
    sessions.end_all(hanako)
    assert CHANGED in waiting.get(login, follow=True).content.decode()
