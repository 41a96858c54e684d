"""A provider of single sign-on that is away, answers oddly, or is asked too often."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from allauth.socialaccount.models import SocialAccount
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from tests.doubles.oidc import Provider, claims
from tests.xmailadmin.test_single_sign_on import START, provider, sign_in, taro
from xmailadmin.views.single_sign_on import STARTS_A_MINUTE

__all__ = ["provider", "taro"]  # fixtures

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("taro")]

CONFIGURATION = "/.well-known/openid-configuration"
DEEP = b"[" * 100_000
ENDLESS = {"access_token": "x", "id_token": "x", "expires_in": 10**12}


def told_in_words(response: Any, log: pytest.LogCaptureFixture) -> bool:
    """True if the page says what happened, and the log one line of ours without a traceback."""
    ours = [record for record in log.records if record.name.startswith("xmailadmin")]
    assert [record.levelname for record in ours] == ["WARNING"]
    assert not any(record.exc_info or record.levelno >= logging.ERROR for record in log.records)
    assert response.status_code == 401
    return "Signing in did not work" in response.content.decode()


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"[]", b"null", b"7", b'{"issuer": "x"}', DEEP, b"\xff\xfe"]
)
def test_a_configuration_that_is_none_is_told_in_words(
    provider: Provider, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    provider.raw[CONFIGURATION] = answer
    assert told_in_words(Client().get(START), caplog)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_endpoint", None),
        ("authorization_endpoint", ["https://idp.example.jp"]),
        ("authorization_endpoint", "javascript:alert(1)"),
        ("userinfo_endpoint", "file:///etc/passwd"),
        ("more", "x" * 2_000_000),  # nobody knows whether it would end
        ("issuer", 7),
    ],
)
def test_a_configuration_with_odd_addresses_is_told_in_words(
    provider: Provider, caplog: pytest.LogCaptureFixture, name: str, value: Any
) -> None:
    parts = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    whole = {"issuer": provider.url, **{part: f"{provider.url}/{part}" for part in parts}}
    provider.raw[CONFIGURATION] = json.dumps({**whole, name: value}).encode()
    assert told_in_words(Client().get(START), caplog)


def test_a_provider_that_is_away_is_told_in_words(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.server.socket.close()
    assert told_in_words(Client().get(START), caplog)
    assert "ConnectionError" in caplog.text


@pytest.mark.parametrize("path", ["/token", "/userinfo"])
@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'"text"', b"null", b"{}", DEEP, b"\xff", json.dumps(ENDLESS).encode()]
)
def test_an_answer_that_is_rubbish_is_told_in_words(
    provider: Provider, caplog: pytest.LogCaptureFixture, path: str, answer: bytes
) -> None:
    provider.raw[path] = answer
    assert told_in_words(sign_in(browser := Client()), caplog)
    assert browser.get("/").status_code == 302


@pytest.mark.parametrize("sub", [None, "", 7, ["1"], {"a": 1}, True, "x" * 5000, "\ud800", "a\0b"])
def test_who_is_nobody_at_the_provider_is_nobody_here(
    provider: Provider, caplog: pytest.LogCaptureFixture, sub: Any
) -> None:
    provider.userinfo = {**provider.person, "sub": sub}
    if isinstance(sub, str):  # else no ID token can be made with it
        provider.person = provider.userinfo
    assert told_in_words(sign_in(Client()), caplog)
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("left_out", ["userinfo", "id_token"])
def test_who_has_no_number_at_the_provider_is_nobody_here(
    provider: Provider, caplog: pytest.LogCaptureFixture, left_out: str
) -> None:
    nameless = {**provider.person}
    del nameless["sub"]
    if left_out == "userinfo":
        provider.userinfo = nameless
    else:
        provider.userinfo, provider.person = provider.person, nameless
    assert told_in_words(sign_in(Client()), caplog)


def test_the_user_info_of_somebody_else_is_not_used(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.userinfo = claims("victim", "taro@example.jp")
    provider.person = claims("attacker", "attacker@example.jp")
    assert told_in_words(sign_in(Client()), caplog)
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("odd", [{"exp": 10**12, "jti": "1"}, {"aud": "other"}, {"iss": "other"}])
def test_an_id_token_that_is_odd_is_told_in_words(
    provider: Provider, caplog: pytest.LogCaptureFixture, odd: dict[str, Any]
) -> None:
    provider.id_token = odd
    assert told_in_words(sign_in(Client()), caplog)


def test_another_provider_does_not_mean_the_same_people(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    sign_in(Client())
    account = SocialAccount.objects.get()
    account.extra_data["id_token"]["iss"] = "https://before.example.jp"
    account.save()
    assert told_in_words(sign_in(browser := Client()), caplog)
    assert browser.get("/").status_code == 302
    assert SocialAccount.objects.get().extra_data == account.extra_data


def test_odd_names_do_no_harm(provider: Provider) -> None:
    odd = {"name": {"a": 1}, "preferred_username": 7, "given_name": ["x"], "picture": {}}
    provider.userinfo = {**provider.person, **odd}
    assert sign_in(Client()).headers["Location"] == "/"
    known = {"sub": "1", "email": "taro@example.jp", "email_verified": True}
    assert SocialAccount.objects.get().extra_data["userinfo"] == known


def test_a_name_may_have_the_blank_that_japanese_has(provider: Provider) -> None:
    provider.userinfo = {**provider.person, "name": "山田\u3000太郎"}
    sign_in(Client())
    assert SocialAccount.objects.get().extra_data["userinfo"]["name"] == "山田 太郎"


def test_its_configuration_is_not_asked_for_each_time(provider: Provider) -> None:
    for _ in range(3):
        sign_in(Client())
    assert provider.asked.count(CONFIGURATION) == 1


@pytest.mark.usefixtures("provider")
@time_machine.travel("2027-01-01", tick=False)  # however slow it is, no minute ends in the midst
def test_nobody_begins_to_sign_in_without_end() -> None:
    for _ in range(STARTS_A_MINUTE):
        assert Client().get(START, REMOTE_ADDR="192.0.2.1").status_code == 302
    refused = Client().get(START, REMOTE_ADDR="192.0.2.1")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert "Too many requests" in refused.content.decode()
    assert Session.objects.count() == STARTS_A_MINUTE
    assert Client().get(START, REMOTE_ADDR="192.0.2.2").status_code == 302


@pytest.mark.usefixtures("provider")
def test_a_link_does_not_choose_what_the_provider_is_asked() -> None:
    evil = "redirect_uri=https://evil.example/&response_type=token&client_id=other&prompt=none"
    asked = {"auth_params": evil, "scope": "admin", "process": "redirect", "next": "//evil.example"}
    query = parse_qs(urlsplit(Client().get(START, asked).headers["Location"]).query)
    assert query["redirect_uri"] == [f"http://testserver{START}callback/"]
    assert (query["response_type"], query["client_id"]) == (["code"], ["xmailadmin"])
    assert sorted(query["scope"][0].split()) == ["email", "openid", "profile"]
    assert "prompt" not in query
    assert sign_in(Client(), f"{START}?next=//evil.example").headers["Location"] == "/"


def test_who_is_led_to_the_page_of_a_failure_sees_it() -> None:
    page = Client().get(reverse("socialaccount_login_error"))
    assert "Signing in did not work" in page.content.decode()
