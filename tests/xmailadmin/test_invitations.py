"""People are invited by a one-time link, with which they choose a password."""

from __future__ import annotations

import re
import socket
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.core import mail
from django.test import Client
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
from xmailadmin import sessions
from xmailadmin.forms import InviteForm
from xmailadmin.models import AccessLink, AuditEntry, User

__all__ = ["administrator", "boss"]  # fixtures
pytestmark = pytest.mark.django_db


def test_a_name_that_a_command_takes_meanwhile_is_told(
    administrator: Client, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InviteForm, "clean_username", lambda form: form.cleaned_data["username"])
    page = administrator.post(reverse("person_invite"), {"username": "boss", "roles": ["viewer"]})
    assert "There is already an account with this name." in page.content.decode()
    assert User.objects.get() == boss


def test_an_invited_person_chooses_a_password_and_comes_in(administrator: Client) -> None:
    path = invite(administrator, "operator")
    taro = User.objects.get(username="taro")
    assert not taro.has_usable_password()
    assert [role.name for role in taro.roles] == ["operator"]
    response = choose(path)
    assert response.headers["Location"] == reverse("account_login")
    browser = sign_in("taro", NEW_PASSWORD)
    assert browser.get(reverse("host_add")).status_code == 200
    assert browser.get(reverse("person_list")).status_code == 403
    actions = AuditEntry.objects.filter(object_id=str(taro.pk)).values_list("action", flat=True)
    assert list(actions) == ["signin", "person.link_used", "person.invited"]


def test_a_link_works_once_and_its_token_is_not_kept(administrator: Client) -> None:
    path = invite(administrator)
    token = path.split("/")[-2]
    assert token not in str(list(AccessLink.objects.values()))
    choose(path)
    again = choose(path, "a-thief-comes-too-late")
    assert again.status_code == 404
    assert "This link does not work any more" in again.content.decode()
    assert User.objects.get(username="taro").check_password(NEW_PASSWORD)


def test_of_two_who_hold_a_link_the_second_is_too_late(administrator: Client) -> None:
    path = invite(administrator)
    slow = Client()
    slow.get(path, follow=True)
    choose(path)
    data = {"new_password1": "a-thief-comes-too-late", "new_password2": "a-thief-comes-too-late"}
    assert slow.post(reverse("choose_password"), data).status_code == 404
    assert User.objects.get(username="taro").check_password(NEW_PASSWORD)


@pytest.mark.parametrize("deed", ["switched off", "demoted"])
def test_links_of_who_is_no_administrator_any_more_are_void(
    administrator: Client, boss: User, deed: str
) -> None:
    path = invite(administrator)
    chief = people.signed_in(people.person("administrator", username="chief"), confirmed=True)
    kept = invite(chief, name="hanako")
    if deed == "demoted":
        chief.post(reverse("person_roles", args=[boss.pk]), {"roles": ["operator"]})
    else:
        chief.post(reverse("person_disable", args=[boss.pk]))
    assert choose(path).status_code == 404
    assert choose(kept).status_code == 302


@pytest.mark.parametrize("role", ["", "viewer"])
def test_whoever_has_the_session_of_a_browser_does_not_get_the_link(
    administrator: Client, role: str
) -> None:
    thief = people.signed_in(people.person(role, username="thief")) if role else Client()
    browser = Client()
    planted = sessions.as_cookie(str(thief.session.session_key))
    for client in (thief, browser):
        client.cookies[settings.SESSION_COOKIE_NAME] = planted
    path = invite(administrator)
    assert browser.get(path, follow=True).status_code == 200
    assert thief.get(reverse("choose_password")).status_code == 404
    assert choose(path, browser=browser).status_code == 302


def test_the_token_leaves_the_address_at_once(administrator: Client) -> None:
    response = Client().get(invite(administrator))
    assert response.headers["Location"] == reverse("choose_password")
    assert response.headers["Referrer-Policy"] == "same-origin"


def test_a_link_ends_after_three_days(administrator: Client) -> None:
    path = invite(administrator)
    with time_machine.travel(timezone.now() + timedelta(hours=72, seconds=1)):
        assert choose(path).status_code == 404


def test_a_newer_link_replaces_the_older(administrator: Client) -> None:
    old = invite(administrator)
    taro = User.objects.get(username="taro")
    page = administrator.post(reverse("person_link", args=[taro.pk])).content.decode()
    new = re.search(r"/account/link/[\w-]+/", page)
    assert new
    assert choose(old).status_code == 404
    assert choose(new[0]).status_code == 302


def test_a_link_ends_when_its_person_signs_in(administrator: Client) -> None:
    """By single sign-on, or with a password that was remembered after all."""
    taro = people.person("operator", username="taro")
    page = administrator.post(reverse("person_link", args=[taro.pk])).content.decode()
    path = re.search(r"/account/link/[\w-]+/", page)
    assert path
    assert sign_in("taro", people.PASSWORD).get("/").status_code == 200
    assert choose(path[0]).status_code == 404
    assert not AccessLink.objects.exists()


def test_a_session_that_began_while_the_account_was_shut_ends_when_it_is_opened(
    administrator: Client,
) -> None:
    taro = people.person("operator", username="taro")
    browser = sign_in("taro", people.PASSWORD)
    User.objects.filter(pk=taro.pk).update(is_active=False)
    administrator.post(reverse("person_enable", args=[taro.pk]))
    assert User.objects.get(pk=taro.pk).is_active
    assert browser.get("/").status_code == 302


def test_a_weak_password_is_refused(administrator: Client) -> None:
    path = invite(administrator)
    for weak in ("taro", "password", "12345678901"):
        assert choose(path, weak).status_code == 200
    assert not User.objects.get(username="taro").has_usable_password()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"username": "BOSS"}, "There is already an account with this name."),
        ({"username": "a b"}, "Enter a valid username"),
        ({"username": "bоss"}, "Enter a valid username"),  # a Cyrillic letter
        ({"username": "ｂｏｓｓ"}, "There is already an account with this name."),
        ({"username": "System"}, "This name would read as the portal itself."),
        ({"username": "ｓｙｓｔｅｍ"}, "This name would read as the portal itself."),
        ({"username": "the-portal"}, "This name would read as the portal itself."),
        ({"username": ".."}, "This name would read as the portal itself."),
        ({"email": "BOSS@example.jp"}, "There is already an account with this e-mail address."),
        ({"email": "x"}, "Enter a valid email address."),
        ({"roles": []}, "Choose at least one role."),
        ({"roles": ["root"]}, "Select a valid choice."),
    ],
)
def test_a_wrong_invitation_is_refused(
    administrator: Client, boss: User, data: dict[str, Any], reason: str
) -> None:
    User.objects.filter(pk=boss.pk).update(email="boss@example.jp")
    values = {"username": "taro", "email": "", "roles": ["viewer"], **data}
    page = administrator.post(reverse("person_invite"), values).content.decode()
    assert reason in page
    assert User.objects.count() == 1


def test_a_link_ends_when_its_person_changes_the_password(administrator: Client) -> None:
    taro = people.person("operator", username="taro")
    browser = people.signed_in(taro)
    page = administrator.post(reverse("person_link", args=[taro.pk])).content.decode()
    path = re.search(r"/account/link/[\w-]+/", page)
    assert path
    new = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    address = reverse("account_change_password")
    assert browser.post(address, {"oldpassword": people.PASSWORD, **new}).status_code == 302
    assert choose(path[0], "one-more-passphrase").status_code == 404


def test_the_link_is_mailed_where_mail_is_set_up(administrator: Client, settings: Any) -> None:
    invite(administrator, name="jiro", email="jiro@example.jp")
    assert mail.outbox == []
    settings.MAIL = True
    path = invite(administrator, email="taro@example.jp")
    assert [letter.to for letter in mail.outbox] == [["taro@example.jp"]]
    assert path in mail.outbox[0].body


def test_the_link_is_mailed_to_the_domain_that_was_typed(
    administrator: Client, settings: Any
) -> None:
    """Mail programs would make straße.de of it by an older rule, which is somebody else's."""
    settings.MAIL = True
    invite(administrator, email="taro@straße.de")
    assert [letter.to for letter in mail.outbox] == [["taro@xn--strae-oqa.de"]]


@pytest.mark.parametrize("email", ["taro@אa.jp", "taro@" + "あ" * 62 + ".jp", "taro@。.jp"])
def test_an_address_that_no_mail_reaches_is_refused(
    administrator: Client, settings: Any, email: str
) -> None:
    settings.MAIL = True
    data = {"username": "taro", "email": email, "roles": ["viewer"]}
    page = administrator.post(reverse("person_invite"), data)
    assert page.context["form"].errors["email"]
    assert not User.objects.filter(username="taro").exists()


def test_a_link_is_shown_though_the_address_is_none_any_more(
    administrator: Client, settings: Any
) -> None:
    settings.MAIL = True
    taro = people.person("viewer", username="taro")
    User.objects.filter(pk=taro.pk).update(email="taro@אa.jp")
    page = administrator.post(reverse("person_link", args=[taro.pk]))
    assert page.status_code == 200
    assert mail.outbox == []


def test_the_form_of_one_link_sets_nobody_elses_password(administrator: Client) -> None:
    browser = Client()
    for name in ("taro", "jiro"):
        browser.get(invite(administrator, name=name))
    data = {"username": "taro", "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    page = browser.post(reverse("choose_password"), data)
    assert "This form was for another account" in page.content.decode()
    assert not User.objects.get(username="jiro").has_usable_password()


def test_a_mail_server_that_is_silent_holds_no_invitation(
    administrator: Client, settings: Any
) -> None:
    assert 0 < settings.EMAIL_TIMEOUT <= 10
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.MAIL = True
        settings.EMAIL_BACKEND = "xmailadmin.mail.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()
        settings.EMAIL_TIMEOUT = 0.2
        data = {"username": "taro", "email": "taro@example.jp", "roles": ["viewer"]}
        page = administrator.post(reverse("person_invite"), data).content.decode()
    assert "/account/link/" in page
    assert "It could not be sent to taro@example.jp" in page
    assert "It was also sent" not in page


def test_inviting_needs_a_second_factor(boss: User) -> None:
    client = people.signed_in(boss)
    data = {"username": "taro", "roles": ["administrator"]}
    page = client.post(reverse("person_invite"), data, follow=True)
    assert "What you want to do needs a second factor." in page.content.decode()
    assert not User.objects.filter(username="taro").exists()
