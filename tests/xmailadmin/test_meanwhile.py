"""What a person does is not done once somebody has decided about the account meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.core.context import request_context
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import reverse

from certs.models import Pair
from hosts.models import Host
from tests import people
from tests.factories import issued_pair, local_host
from tests.hosts.test_views_pair_new import FIELDS
from xmailadmin import audit, roles, sessions
from xmailadmin import people as team
from xmailadmin.access import AccessMiddleware
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


def remove_second_factor(by: Any, user: User) -> None:
    held = list(Authenticator.objects.filter(user=user).values_list("pk", flat=True))
    assert team.remove_second_factor(by, User.objects.get(pk=user.pk), held)


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
        remove_second_factor(by, hanako)
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
    remove_second_factor(by, hanako)
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


def test_removing_the_own_second_factor_ends_what_began_with_it(hanako: User) -> None:
    people.set_up_second_factor(hanako)
    here, there = (people.signed_in(hanako, confirmed=True) for _ in range(2))
    waiting = Client()
    login = reverse("account_login")
    waiting.post(login, {"login": "hanako", "password": people.PASSWORD})
    here.post(reverse("mfa_deactivate_totp"))
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302
    assert waiting.get(reverse("mfa_authenticate"), follow=True).status_code == 200
    assert waiting.get("/").status_code == 302


# --- Whoever is shut out does nothing more ------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Has something happen after the next request was let in, before anything is done."""

    def arrange(deed: Callable[[], Any]) -> None:
        usual = AccessMiddleware.process_view

        def slow(self: AccessMiddleware, *about: Any) -> Any:
            monkeypatch.setattr(AccessMiddleware, "process_view", usual)
            refused = usual(self, *about)
            deed()
            return refused

        monkeypatch.setattr(AccessMiddleware, "process_view", slow)

    return arrange


def test_a_demoted_administrator_does_not_give_the_role_back(meanwhile: Any) -> None:
    xav = people.person("administrator", username="xav")
    people.person("administrator", username="ann")
    browser = people.signed_in(xav, confirmed=True)
    meanwhile(lambda: roles.give(User.objects.get(pk=xav.pk), ["viewer"]))
    sent = {"roles": ["administrator", "key_holder"]}
    assert browser.post(reverse("person_roles", args=[xav.pk]), sent).status_code == 403
    assert [role.name for role in User.objects.get(pk=xav.pk).roles] == ["viewer"]


def test_no_pair_is_asked_for_by_whoever_was_shut_out(hanako: User, meanwhile: Any) -> None:
    browser = people.signed_in(hanako)
    meanwhile(lambda: sessions.end_all(User.objects.get(pk=hanako.pk)))
    assert browser.post(reverse("pair_new"), FIELDS).status_code == 403
    assert not Pair.objects.exists()
    again = people.signed_in(User.objects.get(pk=hanako.pk))
    assert again.post(reverse("pair_new"), FIELDS).status_code == 302
    assert AuditEntry.objects.get(action="pair.request").address == "127.0.0.1"


def decisions(person: User) -> dict[str, Callable[[], Any]]:
    def read() -> User:
        return User.objects.get(pk=person.pk)

    return {
        "off": lambda: User.objects.filter(pk=person.pk).update(is_active=False),
        "sessions": lambda: sessions.end_all(read()),
        "this session": lambda: Session.objects.all().delete(),
        "roles": lambda: roles.give(read(), ["viewer"]),
    }


@pytest.mark.parametrize("decided", ["off", "sessions", "this session", "roles"])
@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("person_enable", {}), ("person_disable", {}), ("person_roles", {"roles": ["operator"]}),
        ("person_link", {}), ("person_sessions", {}), ("audit_verify", {}), ("pair_key", {}),
        ("host_disable", {}), ("host_delete", {}),
    ],
)  # fmt: skip
def test_who_was_shut_out_while_the_request_was_under_way_does_nothing(
    tmp_path: Path, meanwhile: Any, address: str, sent: dict[str, Any], decided: str
) -> None:
    every = ("administrator", "operator", "key_holder")
    xav = people.person(*every, username="xav")
    other = people.person("viewer", username="other")
    User.objects.filter(pk=other.pk).update(is_active=address != "person_enable")
    host, pair = local_host(tmp_path), issued_pair()
    browser = people.signed_in(xav, confirmed=True)
    number = {"person": other.pk, "host": host.pk, "pair": pair.pk}.get(address.partition("_")[0])
    meanwhile(decisions(xav)[decided])
    before = AuditEntry.objects.count()
    page = browser.post(reverse(address, args=[number] if number else []), sent)
    assert page.status_code == 403
    assert b"PRIVATE KEY" not in page.content
    assert AuditEntry.objects.count() == before
    assert Host.objects.filter(disabled=False).exists()
    if decided != "roles":
        assert browser.get("/").status_code == 302


def test_a_session_that_was_ended_does_not_go_on_by_ending_the_others(
    hanako: User, by: Any, meanwhile: Any
) -> None:
    """It would be given what belongs to the new password."""
    thief = people.signed_in(hanako)
    team.make_link(by, hanako)
    link = AccessLink.objects.get(user=hanako)
    meanwhile(lambda: team.accept(by, link, "chosen-by-the-real-person"))
    assert thief.post(reverse("session_end")).status_code == 403
    assert thief.get("/").status_code == 302


def test_a_link_is_used_where_the_same_person_is_signed_in(hanako: User, by: Any) -> None:
    browser, login = Client(), reverse("account_login")
    browser.post(login, {"login": "hanako", "password": people.PASSWORD})
    browser.get(reverse("access_link", args=[team.make_link(by, hanako)]))
    sent = {"new_password1": NEW, "new_password2": NEW}
    page = browser.post(reverse("choose_password"), sent, follow=True)
    assert page.status_code == 200
    assert page.request["PATH_INFO"] == login
    assert "Sign in with it" in page.content.decode()
    browser.post(login, {"login": "hanako", "password": NEW})
    assert browser.get("/").status_code == 200


def test_an_administrator_removes_the_own_second_factor_and_stays_signed_in() -> None:
    boss = people.person("administrator", username="boss")
    factor = people.set_up_second_factor(boss)
    browser, other = (people.signed_in(boss, confirmed=True) for _ in range(2))
    address = reverse("person_second_factor", args=[boss.pk])
    assert browser.post(address, {"factor": factor.pk}).status_code == 302
    assert not Authenticator.objects.filter(user=boss).exists()
    assert browser.get("/").status_code == 200
    assert other.get("/").status_code == 302


def test_a_button_pressed_after_the_session_has_ended_leads_back_to_its_page() -> None:
    page = reverse("account")
    for referer, there in ((f"http://testserver{page}?a=1", f"{page}?a=1"), ("", "/")):
        response = Client().post(reverse("session_end"), headers={"referer": referer})
        query = parse_qs(urlsplit(response.headers["Location"]).query)
        assert query == {"next": [there]}


def test_a_sign_in_that_is_not_on_record_leaves_nothing(
    hanako: User, by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.make_link(by, hanako)
    with monkeypatch.context() as patch:
        patch.setattr(audit, "record_all", Mock(side_effect=DatabaseError))
        browser = Client(raise_request_exception=False)
        login = reverse("account_login")
        page = browser.post(login, {"login": "hanako", "password": people.PASSWORD})
    assert page.status_code == 500
    assert browser.get("/").status_code == 302
    assert AccessLink.objects.filter(user=hanako).exists()
    assert User.objects.get(pk=hanako.pk).last_login is None
