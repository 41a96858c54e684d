"""However many send passwords at once, a few are hashed, and the others are told to wait."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests import people
from tests.portal import Portal
from tests.visitor import Visitor
from xmailadmin import hashing, limits, settings
from xmailadmin.models import AuditEntry
from xmailadmin.people import make_link

LOGIN = reverse("account_login")


@pytest.fixture
def hashers(settings: Any) -> None:
    """The portal's own; tests have a fast one otherwise."""
    settings.PASSWORD_HASHERS = OWN


OWN = settings.PASSWORD_HASHERS


@contextmanager
def all_turns_taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hashing, "WAIT_S", 0.01)
    for _ in range(hashing.AT_ONCE):
        assert hashing._turns.acquire(timeout=1)
    try:
        yield
    finally:
        for _ in range(hashing.AT_ONCE):
            hashing._turns.release()


def says_busy(page: Any, words: str = "The portal is busy") -> bool:
    return page.status_code == 503 and words in page.content.decode() and page["Retry-After"]


@pytest.mark.django_db
@pytest.mark.usefixtures("hashers")
def test_who_finds_no_turn_is_told_so_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hanako = people.person("operator")
    with all_turns_taken(monkeypatch):
        for name in ("hanako", "nobody-has-this-name") * (limits.FAILURES + 1):
            assert says_busy(Client().post(LOGIN, {"login": name, "password": people.PASSWORD}))
        headers = {"Accept-Language": "ja"}
        sent = {"login": "hanako", "password": people.PASSWORD}
        assert Client().post(LOGIN, sent, headers=headers)["Content-Language"] == "ja"
    assert not AuditEntry.objects.filter(action__startswith="signin").exists()
    assert Client().post(LOGIN, sent).status_code == 302

    signed_in = people.signed_in(hanako)
    new = {"password1": "another-long-password", "password2": "another-long-password"}
    address = reverse("account_change_password")
    with all_turns_taken(monkeypatch):
        for _ in range(limits.FAILURES + 1):
            assert says_busy(signed_in.post(address, {"oldpassword": people.PASSWORD, **new}))
    assert signed_in.post(address, {"oldpassword": people.PASSWORD, **new}).status_code == 302


@pytest.mark.django_db
@pytest.mark.usefixtures("hashers")
def test_a_link_still_works_after_that(monkeypatch: pytest.MonkeyPatch, rf: Any) -> None:
    hanako = people.person("operator")
    by = rf.get("/")
    by.user = hanako
    browser = Client()
    browser.get(reverse("access_link", args=[make_link(by, hanako)]))
    new = {"new_password1": "another-long-password", "new_password2": "another-long-password"}
    with all_turns_taken(monkeypatch):
        assert says_busy(browser.post(reverse("choose_password"), new))
    assert browser.post(reverse("choose_password"), new).status_code == 302
    hanako.refresh_from_db()
    assert hanako.check_password("another-long-password")


def test_who_waits_keeps_no_connection_to_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    outside = SimpleNamespace(in_atomic_block=False, close=lambda: happened.append("closed"))
    monkeypatch.setattr(hashing, "connection", outside)
    hasher = hashing.LimitedArgon2()
    encoded = hasher.encode("password", "salt" * 8)
    assert hasher.verify("password", encoded)
    assert happened == []
    with all_turns_taken(monkeypatch), pytest.raises(hashing.Busy):
        hasher.verify("password", encoded)
    assert happened == ["closed"]


@pytest.mark.slow
def test_many_sign_ins_at_once_take_little_memory(new_portal: Portal) -> None:
    def most_memory(pid: int) -> int:
        (kilobytes,) = re.findall(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(kilobytes) // 1024

    def fail(number: int) -> int:
        return Visitor(new_portal).post("/account/login/", login=f"p{number}", password="x").status

    with new_portal.up() as process:
        Visitor(new_portal).sign_in()
        before = most_memory(process.pid)
        with ThreadPoolExecutor(limits.FAILURES_OF_ADDRESS) as pool:
            answers = list(pool.map(fail, range(limits.FAILURES_OF_ADDRESS)))
        assert set(answers) <= {200, 503}
        assert most_memory(process.pid) < before + hashing.AT_ONCE * 100 + 100
