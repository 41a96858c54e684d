"""Changing the own password, and the forms that ask for one."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests import people
from tests.xmailadmin.test_signing_in import blocked
from xmailadmin import limits
from xmailadmin.models import AuditEntry, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def hanako() -> User:
    return people.person("operator")


def test_the_password_is_changed_only_with_the_old_one(hanako: User) -> None:
    client = people.signed_in(hanako)
    address = reverse("account_change_password")
    new = {"password1": "another-long-password", "password2": "another-long-password"}
    wrong = client.post(address, {"oldpassword": "wrong", **new})
    assert "This is not your current password. Enter it again." in wrong.content.decode()
    hanako.refresh_from_db()
    assert hanako.check_password(people.PASSWORD)
    client.post(address, {"oldpassword": people.PASSWORD, **new})
    hanako.refresh_from_db()
    assert hanako.check_password("another-long-password")
    assert AuditEntry.objects.filter(action="password.changed", actor=hanako).exists()


def test_guesses_of_the_old_password_are_counted_and_recorded(hanako: User) -> None:
    client = people.signed_in(hanako)
    address = reverse("account_change_password")
    new = {"password1": "another-long-password", "password2": "another-long-password"}
    for number in range(limits.FAILURES):
        page = client.post(address, {"oldpassword": f"guess{number}", **new})
        assert not blocked(page)
    tried = AuditEntry.objects.filter(action="signin.failed", object_id=str(hanako.pk))
    assert tried.count() == limits.FAILURES
    assert blocked(client.post(address, {"oldpassword": people.PASSWORD, **new}))
    hanako.refresh_from_db()
    assert hanako.check_password(people.PASSWORD)


def test_whoever_has_no_password_sets_one_only_with_a_second_factor(hanako: User) -> None:
    hanako.set_unusable_password()
    hanako.save()
    address = reverse("account_set_password")
    new = {"password1": "another-long-password", "password2": "another-long-password"}
    response = people.signed_in(hanako).post(address, new)
    assert response.headers["Location"].startswith(reverse("second_factor_needed"))
    hanako.refresh_from_db()
    assert not hanako.has_usable_password()
    people.signed_in(hanako, confirmed=True).post(address, new)
    hanako.refresh_from_db()
    assert hanako.check_password("another-long-password")


def test_a_field_says_once_what_belongs_in_it(hanako: User) -> None:
    signed_in = people.signed_in(hanako, confirmed=True)
    asked = {
        Client(): ["account_login"],
        signed_in: ["account_reauthenticate", "account_change_password"],
    }
    pages = [client.get(reverse(name)) for client, names in asked.items() for name in names]
    hanako.set_unusable_password()
    hanako.save()
    pages.append(people.signed_in(hanako, confirmed=True).get(reverse("account_set_password")))
    for page in pages:
        assert page.status_code == 200
        assert 'type="password"' in page.content.decode()
        assert "placeholder" not in page.content.decode()
