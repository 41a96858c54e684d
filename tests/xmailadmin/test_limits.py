"""The limits on wrong attempts when many come at once, or many strangers share an address."""

from __future__ import annotations

import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.cache import caches
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import reverse

from tests import people
from xmailadmin import audit, limits, vault
from xmailadmin.models import AuditEntry, User
from xmailadmin.people import make_link

pytestmark = pytest.mark.django_db

LOGIN = reverse("account_login")


def asking(address: str = "192.0.2.1") -> HttpRequest:
    request = RequestFactory().post(LOGIN, REMOTE_ADDR=address)
    request.user = AnonymousUser()
    return request


def sign_in(client: Client, password: str, name: str = "hanako") -> Any:
    return client.post(LOGIN, {"login": name, "password": password})


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAIT_S", 0.01)


def begun(count: int, *, names: int = 1) -> int:
    """How many of so many tries, none of which has ended yet, are looked at."""
    looked_at = 0
    for number in range(count):
        try:
            limits.begin(asking(), f"hanako{number % names}")
        except ValidationError:
            continue
        looked_at += 1
    return looked_at


def test_tries_at_once_do_not_outrun_the_limit_of_an_account() -> None:
    assert begun(25) == limits.FAILURES


def test_tries_at_once_do_not_outrun_the_limit_of_an_address() -> None:
    assert begun(25, names=25) == limits.FAILURES_OF_ADDRESS


def test_tries_at_once_from_everywhere_do_not_outrun_the_limit_of_an_account() -> None:
    looked_at = 0
    for number in range(limits.FAILURES_OF_ACCOUNT + 10):
        with suppress(ValidationError):
            limits.begin(asking(f"198.51.100.{number}"), "hanako")
            looked_at += 1
    assert looked_at == limits.FAILURES_OF_ACCOUNT


def test_who_has_signed_in_from_here_is_spared_that() -> None:
    hanako = people.person("operator")
    at_home = asking("192.0.2.77")
    audit.record(at_home, "signin", hanako)
    for number in range(limits.FAILURES_OF_ACCOUNT):
        limits.missed(limits.begin(asking(f"198.51.100.{number}"), "hanako"))
    with pytest.raises(ValidationError):
        limits.begin(asking("198.51.100.200"), "hanako")
    assert limits.begin(at_home, "hanako")


def test_many_right_tries_at_once_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = [limits.begin(asking(), "hanako") for _ in range(limits.FAILURES)]
    monkeypatch.setattr(limits, "WAIT_S", 10)
    monkeypatch.setattr("xmailadmin.limits.time.sleep", lambda _s: limits.passed(under_way.pop()))
    assert limits.begin(asking(), "hanako")


def test_who_waits_keeps_no_connection_to_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = [limits.begin(asking(), "hanako") for _ in range(limits.FAILURES)]
    happened: list[str] = []
    outside = SimpleNamespace(in_atomic_block=False, close=lambda: happened.append("closed"))
    monkeypatch.setattr(limits, "connection", outside)

    def sleep(_seconds: float) -> None:
        happened.append("slept")
        limits.passed(under_way.pop())

    monkeypatch.setattr("xmailadmin.limits.time.sleep", sleep)
    assert limits.begin(asking(), "hanako")
    assert happened == ["closed", "slept"]


def test_nobody_waits_for_tries_that_were_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(limits.FAILURES):
        limits.missed(limits.begin(asking(), "hanako"))
    monkeypatch.setattr(limits, "WAIT_S", 60)
    began = time.monotonic()
    with pytest.raises(ValidationError):
        limits.begin(asking(), "hanako")
    assert time.monotonic() - began < 30


def test_a_right_try_is_not_counted() -> None:
    for _ in range(2 * limits.FAILURES):
        limits.passed(limits.begin(asking(), "hanako"))


def test_people_sign_in_often() -> None:
    people.person("operator")
    for _ in range(limits.FAILURES + 1):
        assert sign_in(Client(), people.PASSWORD).status_code == 302


def test_invented_names_do_not_lock_out_a_known_browser_at_the_same_address() -> None:
    people.person("operator")
    known = Client()
    assert sign_in(known, people.PASSWORD).status_code == 302
    known.post(reverse("account_logout"))
    for number in range(36):
        sign_in(Client(), "wrong", f"invented{number}")
    assert sign_in(known, people.PASSWORD).status_code == 302
    assert sign_in(Client(), people.PASSWORD).status_code == 200  # a browser that nobody knows


@pytest.mark.parametrize("failed_here", [False, True])
def test_a_one_time_link_lets_its_person_in_whatever_strangers_do(failed_here: bool) -> None:
    hanako = people.person("operator")
    browser = Client()
    if failed_here:
        assert sign_in(browser, people.PASSWORD).status_code == 302
        browser.post(reverse("account_logout"))  # which leaves the mark of the browser
        for _ in range(limits.FAILURES):
            sign_in(browser, "wrong")
    for number in range(limits.FAILURES_OF_ACCOUNT):
        limits.missed(limits.begin(asking(f"198.51.100.{number}"), "hanako"))
    for _ in range(limits.FAILURES):
        sign_in(Client(), "wrong")
    assert sign_in(browser, people.PASSWORD).status_code == 200
    by = asking()
    by.user = hanako
    browser.get(reverse("access_link", args=[make_link(by, hanako)]))
    new = {"new_password1": "another-long-password", "new_password2": "another-long-password"}
    assert browser.post(reverse("choose_password"), new).status_code == 302
    assert sign_in(Client(), "another-long-password").status_code == 200
    assert sign_in(browser, "another-long-password").status_code == 302


def test_tries_of_strangers_do_not_make_a_used_code_work_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hanako = people.person("operator")
    people.set_up_second_factor(hanako)
    code = people.code()

    def second_step() -> bool:
        browser = Client()
        sign_in(browser, people.PASSWORD)
        browser.post(reverse("mfa_authenticate"), {"code": code})
        return browser.get("/").status_code == 200

    assert second_step()
    assert not second_step()
    most = 40
    monkeypatch.setattr(caches["default"], "_max_entries", most)
    for number in range(2 * most):
        limits.missed(limits.begin(asking(f"198.51.100.{number}"), f"invented{number}"))
    assert not second_step()


def test_two_people_who_share_a_browser_are_both_known_in_it() -> None:
    shared = Client()
    for name in ("hanako", "taro"):
        people.person("operator", username=name)
        assert sign_in(shared, people.PASSWORD, name).status_code == 302
        shared.post(reverse("account_logout"))
    for _ in range(limits.FAILURES):
        sign_in(Client(), "wrong")
    assert sign_in(Client(), people.PASSWORD).status_code == 200
    assert sign_in(shared, people.PASSWORD).status_code == 302


def test_a_browser_remembers_the_last_few_people() -> None:
    shared = Client()
    everybody = [f"person{number}" for number in range(limits.PEOPLE + 1)]
    for name in everybody:
        people.person("viewer", username=name)
        sign_in(shared, people.PASSWORD, name)
        shared.post(reverse("account_logout"))
    request = asking()
    request.COOKIES[limits.COOKIE] = shared.cookies[limits.COOKIE].value
    users = [User.objects.get(username=name) for name in everybody]
    assert [bool(limits._device(request, user)) for user in users] == [False] + [True] * 8


def test_a_try_that_nobody_could_look_at_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    hanako = people.person("operator")
    people.set_up_second_factor(hanako)
    waiting = Client(raise_request_exception=False)
    sign_in(waiting, people.PASSWORD)
    second = reverse("mfa_authenticate")
    with monkeypatch.context() as patch:
        patch.setattr(vault, "open_sealed", Mock(side_effect=vault.VaultError("no key")))
        for _ in range(limits.FAILURES + 1):
            page = waiting.post(second, {"code": people.code()})
            assert page.status_code == 503
            assert "master key" in page.content.decode()
    assert waiting.post(second, {"code": people.code()}).status_code == 302


def test_each_account_that_is_blocked_is_on_record_once() -> None:
    for name in ("hanako", "taro"):
        people.person("operator", username=name)
        for _ in range(limits.FAILURES + 2):
            sign_in(Client(), "wrong", name)
    blocked = AuditEntry.objects.filter(action="signin.blocked")
    assert sorted(blocked.values_list("object_name", flat=True)) == ["hanako", "taro"]
