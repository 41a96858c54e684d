"""People: given roles, shut out at once, and their sessions."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.usersessions.models import UserSession
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from tests import people
from tests.xmailadmin.inviting import (
    NEW_PASSWORD,
    administrator,
    boss,
    choose,
    invite,
    sign_in,
)
from xmailadmin import people as team
from xmailadmin import roles
from xmailadmin.home import HomeError
from xmailadmin.models import AccessLink, AuditEntry, User
from xmailadmin.prepare import first_administrator

__all__ = ["administrator", "boss"]  # fixtures
pytestmark = pytest.mark.django_db


# --- Roles ------------------------------------------------------------------------------------


def test_roles_hold_at_once(administrator: Client) -> None:
    taro = people.person("viewer", username="taro")
    browser = people.signed_in(taro)
    assert browser.get(reverse("host_add")).status_code == 403
    address = reverse("person_roles", args=[taro.pk])
    administrator.post(address, {"roles": ["operator", "key_holder"]})
    assert browser.get(reverse("host_add")).status_code == 200
    entry = AuditEntry.objects.get(action="person.roles")
    assert entry.detail == {"before": ["viewer"], "now": ["key_holder", "operator"]}
    administrator.post(address, {"roles": ["viewer"]})
    assert browser.get(reverse("host_add")).status_code == 403


def test_administrators_cannot_shut_themselves_out(administrator: Client, boss: User) -> None:
    page = administrator.post(reverse("person_roles", args=[boss.pk]), {"roles": ["viewer"]})
    assert "You cannot take this role from yourself." in page.content.decode()
    administrator.post(reverse("person_disable", args=[boss.pk]))
    boss.refresh_from_db()
    assert boss.is_active
    assert roles.administrators().get() == boss


def test_a_superuser_whose_roles_are_chosen_has_only_those(administrator: Client) -> None:
    root = User.objects.create_superuser("root")
    assert [role.name for role in root.roles] == list(roles.ROLES)
    administrator.post(reverse("person_roles", args=[root.pk]), {"roles": ["viewer"]})
    root = User.objects.get(pk=root.pk)
    assert not root.is_superuser
    assert [role.name for role in root.roles] == ["viewer"]


def test_no_second_first_administrator_is_made(boss: User) -> None:
    assert first_administrator() is None
    User.objects.filter(pk=boss.pk).update(is_active=False)
    made = first_administrator()
    assert made is not None
    assert User.objects.get(username=made.username).has_perm(roles.ADMINISTER)


def test_administrators_who_demote_each_other_leave_one(boss: User) -> None:
    """Each as if the other's request had passed its checks just before."""
    other = people.person("administrator", username="other")
    by_boss, by_other = people.signed_in(boss), people.signed_in(other)
    request = RequestFactory().post("/")
    request.user = boss
    team.change_roles(request, other, ["viewer"])
    request.user = other
    with pytest.raises(team.LastAdministrator):
        team.change_roles(request, boss, ["viewer"])
    with pytest.raises(team.LastAdministrator):
        team.disable(request, boss)
    assert roles.administrators().get() == boss
    assert by_boss.get(reverse("person_list")).status_code == 200
    assert by_other.get(reverse("person_list")).status_code == 403


def test_the_first_administrator_cannot_be_called_like_the_portal(monkeypatch: Any) -> None:
    monkeypatch.setenv("XMAILADMIN_ADMIN", "system")
    with pytest.raises(HomeError, match="read as the portal itself"):
        first_administrator()
    assert not User.objects.exists()
    people.person("viewer", username="system")  # of an older portal
    monkeypatch.setenv("XMAILADMIN_ADMIN_PASSWORD", NEW_PASSWORD)
    assert first_administrator() is not None


@pytest.mark.parametrize("name", ["admin", "ADMIN", "ＡＤＭＩＮ"])
def test_the_first_administrator_is_not_called_like_somebody_but_for_the_spelling(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    people.person("viewer", username="Admin")
    monkeypatch.setenv("XMAILADMIN_ADMIN", name)
    monkeypatch.setenv("XMAILADMIN_ADMIN_PASSWORD", NEW_PASSWORD)
    made = first_administrator()
    assert made is not None
    assert made.username == User.objects.get().username == "Admin"
    assert sign_in("Admin", NEW_PASSWORD).get("/").status_code == 200


@pytest.mark.parametrize("changes", [{}, {"is_active": False}, {"password": "!"}])
def test_no_start_makes_an_account_that_is_there_administrator_without_a_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    """It was switched off, perhaps, or lost the role, and those who did that come in otherwise."""
    admin = people.person("viewer", username="admin")
    User.objects.update(**changes)
    before = User.objects.values().get()
    assert first_administrator() is None
    assert "Give XMAILADMIN_ADMIN_PASSWORD" in caplog.text
    assert User.objects.values().get() == before
    monkeypatch.setenv("XMAILADMIN_ADMIN_PASSWORD", NEW_PASSWORD)
    assert first_administrator() is not None
    admin = User.objects.get(pk=admin.pk)
    assert admin.check_password(NEW_PASSWORD)
    assert admin.has_perm(roles.ADMINISTER)


# --- Shutting out -----------------------------------------------------------------------------


def test_a_disabled_person_is_out_at_once(administrator: Client) -> None:
    people.person("operator", username="taro")
    taro = User.objects.get(username="taro")
    first, second = sign_in("taro", people.PASSWORD), sign_in("taro", people.PASSWORD)
    assert UserSession.objects.filter(user=taro).count() == 2
    for _twice in range(2):
        administrator.post(reverse("person_disable", args=[taro.pk]))
    for browser in (first, second):
        assert browser.get("/").headers["Location"].startswith(reverse("account_login"))
    assert not UserSession.objects.filter(user=taro).exists()
    assert sign_in("taro", people.PASSWORD).get("/").status_code == 302
    assert AuditEntry.objects.get(action="person.disabled").detail == {"sessions": 2}
    administrator.post(reverse("person_enable", args=[taro.pk]))
    assert first.get("/").status_code == 302  # old sessions stay ended
    assert sign_in("taro", people.PASSWORD).get("/").status_code == 200


def test_a_disabled_persons_link_is_void(administrator: Client) -> None:
    path = invite(administrator)
    taro = User.objects.get(username="taro")
    administrator.post(reverse("person_disable", args=[taro.pk]))
    assert choose(path).status_code == 404
    assert administrator.post(reverse("person_link", args=[taro.pk])).status_code == 404


def test_no_link_is_made_to_an_account_that_is_switched_off_meanwhile(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which would work as soon as the account is switched on again."""
    taro = people.person("operator", username="taro")
    other = people.signed_in(people.person("administrator", username="other"), confirmed=True)
    usual = roles.lock_administrators

    def late() -> None:
        monkeypatch.setattr(roles, "lock_administrators", usual)
        other.post(reverse("person_disable", args=[taro.pk]))
        usual()

    monkeypatch.setattr(roles, "lock_administrators", late)
    assert administrator.post(reverse("person_link", args=[taro.pk])).status_code == 404
    other.post(reverse("person_enable", args=[taro.pk]))
    assert not AccessLink.objects.filter(user=taro).exists()
    assert not AuditEntry.objects.filter(action="person.link").exists()


def test_a_lost_second_factor_is_removed_by_an_administrator(administrator: Client) -> None:
    taro = people.person("operator", username="taro")
    browser = sign_in("taro", people.PASSWORD)
    factor = people.set_up_second_factor(taro)
    assert sign_in("taro", people.PASSWORD).get("/").status_code == 302
    address = reverse("person_second_factor", args=[taro.pk])
    assert f'name="factor" value="{factor.pk}"' in administrator.get(address).content.decode()
    administrator.post(address, {"factor": factor.pk})
    assert browser.get("/").status_code == 302
    again = sign_in("taro", people.PASSWORD)
    assert again.get("/").status_code == 200
    newer = people.set_up_second_factor(taro)
    page = administrator.post(address, {"factor": factor.pk}, follow=True)  # sent once more
    assert "Nothing was removed" in page.content.decode()
    assert again.get("/").status_code == 200
    assert Authenticator.objects.get(user=taro) == newer
    assert AuditEntry.objects.filter(action="person.second_factor_removed").count() == 1


def test_new_recovery_codes_do_not_keep_a_second_factor(administrator: Client) -> None:
    """Whoever signed in by the old ones could make them again and again."""
    taro = people.person("operator", username="taro")
    people.set_up_second_factor(taro)
    RecoveryCodes.activate(taro)
    address = reverse("person_second_factor", args=[taro.pk])
    shown = re.findall(r'name="factor" value="(\d+)"', administrator.get(address).content.decode())
    Authenticator.objects.get(user=taro, type="recovery_codes").delete()
    RecoveryCodes.activate(taro)
    page = administrator.post(address, {"factor": shown}, follow=True)
    assert "The second factor of taro is removed" in page.content.decode()
    assert not Authenticator.objects.filter(user=taro).exists()


def test_who_was_only_invited_is_no_last_administrator(administrator: Client, boss: User) -> None:
    invite(administrator, "administrator", name="jiro")
    other = people.person("administrator", username="saburo")
    saburo = people.signed_in(other, confirmed=True)
    User.objects.filter(pk=boss.pk).update(is_active=False)
    jiro = User.objects.get(username="jiro")
    page = saburo.post(reverse("person_roles", args=[other.pk]), {"roles": ["viewer"]}, follow=True)
    assert "cannot take this role from yourself" in page.content.decode()
    assert not roles.administrators().filter(pk=jiro.pk).exists()
    assert list(roles.administrators()) == [other]


def test_a_link_that_an_administrator_tries_says_whose_password_is_set(
    administrator: Client,
) -> None:
    path = invite(administrator)
    choose(path, browser=administrator)
    assert "The password of taro is set." in administrator.get("/").content.decode()


# --- Sessions ---------------------------------------------------------------------------------


def test_a_person_sees_and_ends_the_own_sessions() -> None:
    people.person("viewer", username="taro")
    here, there, elsewhere = (sign_in("taro", people.PASSWORD) for _ in range(3))
    page = here.get(reverse("session_list")).content.decode()
    assert page.count("127.0.0.1") == 3
    other = UserSession.objects.get(session_key=there.session.session_key)
    here.post(reverse("session_end"), {"session": other.pk})
    assert there.get("/").status_code == 302
    assert elsewhere.get("/").status_code == 200
    here.post(reverse("session_end"))
    assert elsewhere.get("/").status_code == 302
    assert here.get("/").status_code == 200
    assert AuditEntry.objects.filter(action="sessions.ended").count() == 2


@pytest.mark.parametrize("session", ["0", "x", "9" * 30, "-1"])
def test_only_own_sessions_can_be_ended(session: str) -> None:
    people.person("viewer", username="taro")
    people.person("viewer", username="jiro")
    taro, jiro = sign_in("taro", people.PASSWORD), sign_in("jiro", people.PASSWORD)
    foreign = UserSession.objects.get(user__username="jiro")
    for number in (session, str(foreign.pk)):
        assert taro.post(reverse("session_end"), {"session": number}).status_code == 404
    assert jiro.get("/").status_code == 200


def test_an_administrator_ends_somebodys_sessions(administrator: Client) -> None:
    taro = people.person("viewer", username="taro")
    browser = sign_in("taro", people.PASSWORD)
    page = administrator.get(reverse("person_detail", args=[taro.pk])).content.decode()
    assert "127.0.0.1" in page
    administrator.post(reverse("person_sessions", args=[taro.pk]))
    assert browser.get("/").status_code == 302


def test_a_changed_password_ends_the_other_sessions() -> None:
    people.person("viewer", username="taro")
    here, there = sign_in("taro", people.PASSWORD), sign_in("taro", people.PASSWORD)
    data = {"oldpassword": people.PASSWORD, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    here.post(reverse("account_change_password"), data)
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302


def test_the_last_use_of_a_session_is_noted_every_few_minutes(
    django_assert_max_num_queries: Any,
) -> None:
    people.person("viewer", username="taro")
    browser = sign_in("taro", people.PASSWORD)
    browser.get(reverse("account"))
    first = UserSession.objects.get().last_seen_at
    with time_machine.travel(timezone.now() + timedelta(minutes=4)):
        browser.get(reverse("account"))
        assert UserSession.objects.get().last_seen_at == first
    with time_machine.travel(timezone.now() + timedelta(minutes=6)):
        browser.get(reverse("account"))
        assert UserSession.objects.get().last_seen_at > first


def test_a_session_ends_twelve_hours_after_the_sign_in_however_it_is_used() -> None:
    people.person("viewer", username="taro")
    browser, began = sign_in("taro", people.PASSWORD), timezone.now()
    for hours in (5, 10, 11.9):
        with time_machine.travel(began + timedelta(hours=hours)):
            assert browser.get(reverse("account")).status_code == 200
    with time_machine.travel(began + timedelta(hours=12, seconds=10)):
        assert browser.get(reverse("account")).status_code == 302


# --- Pages ------------------------------------------------------------------------------------


def test_the_list_tells_who_may_do_what(administrator: Client) -> None:
    people.person("operator", "key_holder", username="taro")
    invite(administrator, name="jiro")
    page = re.sub(r"\s+", " ", administrator.get(reverse("person_list")).content.decode())
    for text in ("taro", "Operator", "Key holder", "jiro", "Invited", "Password only",
                 "With second factor"):  # fmt: skip
        assert text in page


def test_an_address_is_no_longer_than_mail_allows(administrator: Client) -> None:
    labels = ".".join(["d" * 60] * 4)
    data = {"username": "taro", "email": f"{'a' * 40}@{labels}.jp"}
    response = administrator.post(reverse("person_invite"), data)
    assert "254" in str(response.context["form"].errors["email"])
