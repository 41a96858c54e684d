"""Signing in: the limits on wrong attempts, second factors, and what is kept of their secrets."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests import people
from xmailadmin import limits, roles, sessions, vault
from xmailadmin import people as team
from xmailadmin.models import AuditEntry, AuthenticatorSecret, User

pytestmark = pytest.mark.django_db
after_commit = pytest.mark.usefixtures("commits")  # when allauth tells of a new factor

LOGIN, SECOND_STEP = reverse("account_login"), reverse("mfa_authenticate")
WRONG = "There were too many wrong attempts"


def try_to_sign_in(
    client: Client, password: str, *, name: str = "hanako", address: str = "192.0.2.1"
) -> Any:
    return client.post(LOGIN, {"login": name, "password": password}, REMOTE_ADDR=address)


def blocked(response: Any) -> bool:
    return response.status_code == 200 and WRONG in response.content.decode()


def signed_in(response: Any) -> bool:
    return bool(response.status_code == 302 and response.headers["Location"] == "/")


@pytest.fixture
def hanako() -> User:
    return people.person("operator")


# --- Passwords and their limits ---------------------------------------------------------------


@pytest.mark.usefixtures("hanako")
def test_a_right_password_signs_in_and_is_recorded() -> None:
    client = Client()
    assert signed_in(try_to_sign_in(client, people.PASSWORD))
    assert client.get(reverse("account")).status_code == 200
    entry = AuditEntry.objects.get(action="signin")
    assert (entry.actor_name, entry.address, entry.detail) == (
        "hanako",
        "192.0.2.1",
        {"by": ["password"]},
    )
    client.post(reverse("account_logout"))
    assert AuditEntry.objects.filter(action="signout", actor_name="hanako").exists()


@pytest.mark.parametrize("name", ["hanako", "nobody-has-this-name"])
@pytest.mark.usefixtures("hanako")
def test_the_sixth_wrong_attempt_is_blocked(name: str) -> None:
    client = Client()
    for _ in range(5):
        assert not blocked(try_to_sign_in(client, "wrong", name=name))
    assert blocked(try_to_sign_in(client, "wrong", name=name))
    assert blocked(try_to_sign_in(client, people.PASSWORD, name=name))
    assert AuditEntry.objects.filter(action="signin.failed").count() == 5
    assert AuditEntry.objects.filter(action="signin.blocked").count() == 1


@pytest.mark.usefixtures("hanako")
def test_the_block_ends_by_itself() -> None:
    for _ in range(6):
        try_to_sign_in(Client(), "wrong")
    assert blocked(try_to_sign_in(Client(), people.PASSWORD))
    with time_machine.travel(timezone.now() + limits.WINDOW + timedelta(seconds=1)):
        assert signed_in(try_to_sign_in(Client(), people.PASSWORD))


@pytest.mark.usefixtures("hanako")
def test_a_stranger_cannot_lock_out_a_colleague_elsewhere() -> None:
    for _ in range(30):
        try_to_sign_in(Client(), "wrong", address="203.0.113.9")
    assert blocked(try_to_sign_in(Client(), people.PASSWORD, address="203.0.113.9"))
    assert signed_in(try_to_sign_in(Client(), people.PASSWORD, address="192.0.2.1"))


@pytest.mark.usefixtures("hanako")
def test_a_stranger_at_the_same_address_cannot_lock_out_a_known_browser() -> None:
    """Behind one proxy or NAT all have one address."""
    known = Client()
    assert signed_in(try_to_sign_in(known, people.PASSWORD))
    known.post(reverse("account_logout"))
    for _ in range(30):
        try_to_sign_in(Client(), "wrong")
    assert signed_in(try_to_sign_in(known, people.PASSWORD))


def spread(count: int, name: str = "hanako") -> None:
    for number in range(count):
        try_to_sign_in(Client(), "wrong", name=name, address=f"203.0.113.{number // 4}")


@pytest.mark.usefixtures("hanako")
def test_guessing_from_many_addresses_is_stopped_but_for_where_the_person_signs_in() -> None:
    assert signed_in(try_to_sign_in(Client(), people.PASSWORD, address="192.0.2.1"))
    spread(limits.FAILURES_OF_ACCOUNT)
    assert blocked(try_to_sign_in(Client(), people.PASSWORD, address="198.51.100.1"))
    assert signed_in(try_to_sign_in(Client(), people.PASSWORD, address="192.0.2.1"))
    with time_machine.travel(timezone.now() + limits.LONG_WINDOW + timedelta(seconds=1)):
        assert signed_in(try_to_sign_in(Client(), people.PASSWORD, address="198.51.100.1"))


@pytest.mark.usefixtures("hanako")
def test_one_address_cannot_go_through_many_accounts() -> None:
    for number in range(limits.FAILURES_OF_ADDRESS):
        assert not blocked(try_to_sign_in(Client(), "wrong", name=f"person{number}"))
    assert blocked(try_to_sign_in(Client(), "wrong", name="another"))


@pytest.mark.usefixtures("hanako")
def test_an_ipv6_subscriber_is_one_address() -> None:
    for number in range(5):
        try_to_sign_in(Client(), "wrong", address=f"2001:db8:1:2::{number + 1}")
    assert blocked(try_to_sign_in(Client(), "wrong", address="2001:db8:1:2:ffff::1"))
    assert not blocked(try_to_sign_in(Client(), "wrong", address="2001:db8:1:3::1"))


def test_another_persons_known_browser_is_a_stranger(hanako: User) -> None:
    taro = people.person("viewer", username="taro")
    browser = Client()
    try_to_sign_in(browser, people.PASSWORD, name="taro")
    browser.post(reverse("account_logout"))
    for _ in range(5):
        try_to_sign_in(browser, "wrong")
    assert blocked(try_to_sign_in(browser, people.PASSWORD))
    assert not AuditEntry.objects.filter(action="signin", object_id=str(hanako.pk)).exists()
    assert AuditEntry.objects.filter(action="signin", object_id=str(taro.pk)).exists()


def test_what_was_typed_as_a_name_is_not_kept() -> None:
    try_to_sign_in(Client(), "x", name="my-secret-password")
    entry = AuditEntry.objects.get(action="signin.failed")
    assert "my-secret-password" not in str(vars(entry))
    assert entry.object_name == ""


# --- The second factor ------------------------------------------------------------------------


@pytest.fixture
def protected(hanako: User) -> User:
    people.set_up_second_factor(hanako)
    return hanako


def second_step(client: Client, code: str, **extra: Any) -> Any:
    return client.post(reverse("mfa_authenticate"), {"code": code}, **extra)


@pytest.mark.usefixtures("protected")
def test_a_password_alone_does_not_sign_in() -> None:
    client = Client()
    response = try_to_sign_in(client, people.PASSWORD)
    assert response.headers["Location"] == reverse("mfa_authenticate")
    assert client.get("/").status_code == 302
    assert "Second step" in client.get(reverse("mfa_authenticate")).content.decode()
    assert signed_in(second_step(client, people.code()))
    assert client.get("/").status_code == 200
    assert AuditEntry.objects.get(action="signin").detail == {"by": ["password", "mfa"]}


def test_a_new_password_ends_sign_ins_that_wait_for_the_second_factor(protected: User) -> None:
    waiting = Client()
    try_to_sign_in(waiting, people.PASSWORD)
    protected.set_password("another-horse-battery-staple")
    protected.save()
    response = second_step(waiting, people.code())
    assert response.headers["Location"] == LOGIN
    assert waiting.get("/").status_code == 302
    assert AuditEntry.objects.filter(action="signin.outdated", object_id=str(protected.pk)).exists()
    assert "was changed meanwhile" in waiting.get(LOGIN).content.decode()


def test_switching_an_account_off_ends_sign_ins_that_wait_for_the_second_factor(
    protected: User,
) -> None:
    boss = people.signed_in(people.person("administrator", username="boss"), confirmed=True)
    waiting, slower = Client(), Client()
    for client in (waiting, slower):
        try_to_sign_in(client, people.PASSWORD)
    boss.post(reverse("person_disable", args=[protected.pk]))
    assert second_step(waiting, people.code()).headers["Location"] == LOGIN
    assert "was changed meanwhile" in waiting.get(LOGIN).content.decode()
    boss.post(reverse("person_enable", args=[protected.pk]))
    assert second_step(slower, people.code(steps=1)).headers["Location"] == LOGIN
    for client in (waiting, slower):
        assert client.get("/").status_code == 302
    history = AuditEntry.objects.filter(object_id=str(protected.pk), object_type="user")
    actions = list(history.values_list("action", flat=True))
    assert actions == ["signin.outdated", "person.enabled", "signin.refused", "person.disabled"]
    again = Client()
    try_to_sign_in(again, people.PASSWORD)
    assert signed_in(second_step(again, people.code(steps=-1)))


@pytest.mark.usefixtures("protected")
def test_a_code_works_once() -> None:
    code = people.code()
    first, second = Client(), Client()
    for client in (first, second):
        try_to_sign_in(client, people.PASSWORD)
    assert signed_in(second_step(first, code))
    assert not signed_in(second_step(second, code))


@pytest.mark.usefixtures("protected")
def test_a_code_does_not_work_again_while_clocks_may_still_be_wrong() -> None:
    half = timezone.now().replace(second=0, microsecond=0)
    with time_machine.travel(half, tick=False):
        first, code = Client(), people.code()
        try_to_sign_in(first, people.PASSWORD)
        assert signed_in(second_step(first, code))
    with time_machine.travel(half + timedelta(seconds=45), tick=False):
        second = Client()
        try_to_sign_in(second, people.PASSWORD)
        assert totp.validate_totp_code(people.SECRET, code)  # the tolerance would let it in
        assert not signed_in(second_step(second, code))


@pytest.mark.usefixtures("protected")
def test_the_sixth_wrong_code_is_blocked() -> None:
    client = Client()
    try_to_sign_in(client, people.PASSWORD)
    for _ in range(5):
        assert not blocked(second_step(client, "000000", REMOTE_ADDR="192.0.2.1"))
    assert blocked(second_step(client, people.code(), REMOTE_ADDR="192.0.2.1"))
    assert AuditEntry.objects.filter(action="second_factor.failed").count() == 5


def test_a_fresh_sign_in_with_a_second_factor_confirms_for_five_minutes(protected: User) -> None:
    roles.give(protected, ["administrator"])
    client = Client()
    try_to_sign_in(client, people.PASSWORD)
    second_step(client, people.code())
    assert client.get(reverse("person_invite")).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(seconds=301)):
        assert client.get(reverse("person_invite")).status_code == 302


def set_up(client: Client) -> str:
    """Sets up an authenticator app in the browser and returns its secret."""
    client.post(reverse("account_reauthenticate"), {"password": people.PASSWORD})
    secret = str(client.get(reverse("mfa_activate_totp")).context["form"].secret)
    response = client.post(reverse("mfa_activate_totp"), {"code": people.code(secret)})
    assert response.headers["Location"] == reverse("mfa_view_recovery_codes")
    return secret


@after_commit
def test_secrets_are_sealed_wherever_they_are_kept(hanako: User) -> None:
    client = people.signed_in(hanako)
    client.post(reverse("account_reauthenticate"), {"password": people.PASSWORD})
    waiting = str(client.get(reverse("mfa_activate_totp")).context["form"].secret)
    kept = client.session[totp.SECRET_SESSION_KEY]
    assert kept.startswith("v1.")
    assert waiting not in str([Session(session_data=row.session_data).get_decoded()
                               for row in Session.objects.all()])  # fmt: skip
    secret = set_up(client)
    assert totp.SECRET_SESSION_KEY not in client.session
    codes = re.findall(
        r"\b\d{8}\b", client.get(reverse("mfa_view_recovery_codes")).content.decode()
    )
    assert len(set(codes)) == 10
    rows = str(list(Authenticator.objects.values())) + str(
        list(AuthenticatorSecret.objects.values())
    )
    assert AuthenticatorSecret.objects.count() == 2
    for plain in (secret, *codes):
        assert plain not in rows
    assert "sealed:" in rows


def test_swapped_secrets_do_not_open(hanako: User) -> None:
    people.set_up_second_factor(hanako)
    people.set_up_second_factor(people.person(username="taro"), "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK")
    first, second = AuthenticatorSecret.objects.order_by("pk")
    first.secret_sealed, second.secret_sealed = second.secret_sealed, first.secret_sealed
    first.save()
    adapter = TOTP(Authenticator.objects.get(user=hanako))
    with pytest.raises(vault.VaultError):
        adapter.validate_code(people.code())


@after_commit
def test_removing_a_second_factor_forgets_its_secrets(hanako: User) -> None:
    client = people.signed_in(hanako)
    set_up(client)
    client.post(reverse("mfa_deactivate_totp"))
    assert not Authenticator.objects.exists()
    assert not AuthenticatorSecret.objects.exists()
    assert AuditEntry.objects.filter(action="second_factor.removed").count() == 2  # app and codes


@after_commit
def test_a_recovery_code_signs_in_once(hanako: User) -> None:
    client = people.signed_in(hanako)
    set_up(client)
    text = client.get(reverse("mfa_download_recovery_codes"))
    assert text.headers["Content-Disposition"] == 'attachment; filename="recovery-codes.txt"'
    code = re.findall(r"^\d{8}$", text.content.decode(), re.M)[0]
    for works in (True, False):
        other = Client()
        try_to_sign_in(other, people.PASSWORD)
        assert signed_in(second_step(other, code)) == works
    client.post(reverse("mfa_generate_recovery_codes"))
    assert code not in client.get(reverse("mfa_view_recovery_codes")).content.decode()


def test_changing_a_second_factor_needs_the_password_again(hanako: User) -> None:
    client = people.signed_in(hanako)
    for name in ("mfa_activate_totp", "mfa_add_webauthn"):
        for response in (client.get(reverse(name)), client.post(reverse(name), {"code": "1"})):
            assert response.headers["Location"].startswith(reverse("account_reauthenticate"))
    set_up(client)
    with time_machine.travel(timezone.now() + timedelta(seconds=301)):
        for name in (
            "mfa_deactivate_totp",
            "mfa_view_recovery_codes",
            "mfa_generate_recovery_codes",
        ):
            assert client.post(reverse(name)).status_code in (302, 405), name
        assert Authenticator.objects.filter(user=hanako).count() == 2


def test_a_form_that_came_too_late_is_not_kept_in_the_session(hanako: User) -> None:
    client = people.signed_in(hanako)
    client.post(reverse("mfa_activate_totp"), {"code": "SENTINEL"})
    sessions = [
        Session(session_data=row.session_data).get_decoded() for row in Session.objects.all()
    ]
    assert "SENTINEL" not in str(sessions)


def test_a_disabled_account_is_told_so_and_recorded(hanako: User) -> None:
    User.objects.update(is_active=False)
    response = Client().post(LOGIN, {"login": "hanako", "password": people.PASSWORD}, follow=True)
    assert "This account is switched off" in response.content.decode()
    assert AuditEntry.objects.get(action="signin.refused").object_id == str(hanako.pk)


@pytest.mark.parametrize(
    ("host", "secure", "offered"),
    [
        ("localhost", False, True),
        ("127.0.0.1", False, False),
        ("[::1]", True, False),
        ("portal.example", True, True),
        ("portal.example", False, False),
    ],
)
def test_security_keys_are_offered_where_browsers_take_them(
    hanako: User, settings: Any, host: str, secure: bool, offered: bool
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    client = people.signed_in(hanako)
    page = client.get(reverse("mfa_index"), secure=secure, HTTP_HOST=host).content.decode()
    assert (f'href="{reverse("mfa_add_webauthn")}"' in page) == offered


@pytest.mark.parametrize("bad", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_nobody_is_led_away_from_the_portal(hanako: User, bad: str) -> None:
    client = people.signed_in(hanako, confirmed=True)
    response = client.get(reverse("second_factor_needed"), {"next": bad})
    assert response.headers["Location"] == reverse("account")
    other = Client()
    response = other.post(LOGIN, {"login": "hanako", "password": people.PASSWORD, "next": bad})
    assert "evil" not in response.headers["Location"]
    assert "javascript" not in response.headers["Location"]


@pytest.mark.parametrize(
    "there",
    ["http://testserver/phish", "//localhost/x", "http://localhost/x", "//127.0.0.1/x", "evil"],
)
def test_signing_in_leads_on_within_the_portal_only(
    hanako: User, there: str, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
    client = Client()
    sent = {"login": "hanako", "password": people.PASSWORD, "next": there}
    assert signed_in(client.post(LOGIN, sent, secure=True))
    assert signed_in(client.get(LOGIN, {"next": there}, secure=True))
    away = client.post(reverse("account_logout"), {"next": there}, secure=True)
    assert away.headers["Location"] == LOGIN


@pytest.mark.usefixtures("hanako")
def test_no_answer_holds_the_password_that_was_typed() -> None:
    sent = {"login": "hanako", "password": "typed-in-vain"}
    for headers in ({}, {"x-requested-with": "XMLHttpRequest"}, {"accept": "application/json"}):
        page = Client().post(LOGIN, sent, headers=headers)
        assert page.status_code == 200
        assert "typed-in-vain" not in page.content.decode()


@pytest.mark.usefixtures("protected")
def test_the_number_of_a_session_lets_nobody_in_without_its_signature() -> None:
    client = Client()
    try_to_sign_in(client, people.PASSWORD)
    second_step(client, people.code())
    assert client.get("/").status_code == 200
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    key = Session.objects.get().pk
    assert cookie.startswith(f"{key}:")
    for sent in (key, f"{key}:", f"{key}:{'A' * 43}", cookie[:-1], f"x{cookie}", "", ":"):
        thief = Client()
        thief.cookies[settings.SESSION_COOKIE_NAME] = sent
        assert thief.get("/").status_code == 302, sent
    assert client.get("/").status_code == 200


@pytest.mark.usefixtures("protected")
def test_a_session_that_somebody_put_into_the_browser_is_not_the_one_that_comes_in() -> None:
    thief, browser = Client(), Client()
    planted = sessions.as_cookie(str(thief.session.session_key))
    for client in (thief, browser):
        client.cookies[settings.SESSION_COOKIE_NAME] = planted
    assert try_to_sign_in(browser, people.PASSWORD).headers["Location"] == SECOND_STEP
    assert thief.get(SECOND_STEP).headers["Location"] == LOGIN
    assert signed_in(second_step(browser, people.code()))


def test_a_factor_that_is_removed_as_it_is_shown_ends_the_sign_in(
    protected: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = Client()
    try_to_sign_in(waiting, people.PASSWORD)
    usual = Authenticator.record_usage

    def late(factor: Authenticator) -> None:
        team.remove_second_factor(None, protected, [factor.pk])
        with transaction.atomic():  # so that the test's own transaction goes on
            usual(factor)

    monkeypatch.setattr(Authenticator, "record_usage", late)
    assert second_step(waiting, people.code()).headers["Location"] == LOGIN
    assert "was changed meanwhile" in waiting.get(LOGIN).content.decode()
