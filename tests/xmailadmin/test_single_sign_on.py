"""Single sign-on through a real provider, set up by environment variables alone."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client
from django.urls import reverse

from tests import people
from tests.doubles.oidc import CLIENT_ID, CLIENT_SECRET, Provider, claims
from tests.portal import Portal
from xmailadmin import oidc_settings
from xmailadmin.models import AuditEntry, User

pytestmark = pytest.mark.django_db

START = reverse("openid_connect_login", args=[oidc_settings.PROVIDER_ID])


def environment(provider: Provider) -> dict[str, str]:
    return {
        "XMAILADMIN_OIDC_URL": provider.url,
        "XMAILADMIN_OIDC_NAME": "Dojo",
        "XMAILADMIN_OIDC_CLIENT_ID": CLIENT_ID,
        "XMAILADMIN_OIDC_CLIENT_SECRET": CLIENT_SECRET,
    }


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Provider]:
    with Provider() as running:
        for name, value in environment(running).items():
            monkeypatch.setenv(name, value)
        settings.SOCIALACCOUNT_PROVIDERS = oidc_settings.providers()
        yield running


@pytest.fixture
def taro() -> User:
    user = people.person("operator", username="taro")
    User.objects.filter(pk=user.pk).update(email="Taro@example.jp")
    return user


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def visit(address: str) -> str:
    """Lets the provider sign the person in, and returns where it sends the browser."""
    try:
        urllib.request.build_opener(NoRedirect).open(address, timeout=5)
    except urllib.error.HTTPError as answer:
        with answer:
            return str(answer.headers["Location"])
    raise AssertionError("the provider did not redirect")


def sign_in(browser: Client, start: str = START) -> Any:
    """Goes to the provider and comes back."""
    away = browser.get(start)
    assert away.status_code == 302
    return browser.get(visit(away.headers["Location"]).replace("http://testserver", ""))


def test_without_a_provider_there_is_no_button_and_no_way(client: Client) -> None:
    assert oidc_settings.providers() == {}
    assert b"Sign in with" not in client.get(reverse("account_login")).content
    assert client.get(START).status_code == 404


def test_an_invited_person_signs_in(provider: Provider, taro: User) -> None:
    browser = Client()
    assert "Sign in with Dojo" in browser.get(reverse("account_login")).content.decode()
    assert sign_in(browser).headers["Location"] == "/"
    assert browser.get("/").status_code == 200
    assert "/token" in provider.asked
    assert SocialAccount.objects.get().user == taro
    actions = AuditEntry.objects.values_list("action", flat=True)
    assert list(actions) == ["signin", "single_sign_on.connected"]


@pytest.mark.usefixtures("taro")
def test_the_second_time_the_address_no_longer_matters(provider: Provider) -> None:
    sign_in(Client())
    provider.person = claims("1", "new@example.jp")
    browser = Client()
    sign_in(browser)
    assert browser.get("/").wsgi_request.user.get_username() == "taro"


@pytest.mark.usefixtures("taro")
@pytest.mark.parametrize(
    "person",
    [
        claims("2", "stranger@example.jp"),
        claims("2", "taro@example.jp", verified=False),
        {"sub": "2", "preferred_username": "taro"},
    ],
)
def test_nobody_else_gets_in(provider: Provider, person: dict[str, Any]) -> None:
    provider.person = person
    browser = Client()
    response = sign_in(browser)
    assert response.status_code == 403
    assert "Nobody here has this address" in response.content.decode()
    assert browser.get("/").status_code == 302
    assert User.objects.count() == 1
    assert not SocialAccount.objects.exists()


@pytest.mark.usefixtures("taro")
def test_another_identity_with_the_same_address_does_not_take_the_account(
    provider: Provider,
) -> None:
    sign_in(Client())
    provider.person = claims("2", "taro@example.jp")
    assert sign_in(Client()).status_code == 403
    assert SocialAccount.objects.get().uid == "1"


def test_two_people_with_one_address_are_told_apart_by_nobody(
    provider: Provider, taro: User
) -> None:
    other = people.person("administrator", username="other")
    User.objects.filter(pk=other.pk).update(email=taro.email or "taro@example.jp")
    assert sign_in(Client()).status_code == 403


def test_a_disabled_person_stays_out(provider: Provider, taro: User) -> None:
    User.objects.filter(pk=taro.pk).update(is_active=False)
    browser = Client()
    sign_in(browser)
    assert browser.get("/").status_code == 302


def test_the_second_factor_is_asked_for_all_the_same(provider: Provider, taro: User) -> None:
    people.set_up_second_factor(taro)
    browser = Client()
    assert sign_in(browser).headers["Location"] == reverse("mfa_authenticate")
    assert browser.get("/").status_code == 302
    browser.post(reverse("mfa_authenticate"), {"code": people.code()})
    assert browser.get("/").status_code == 200


@pytest.mark.usefixtures("taro")
@pytest.mark.parametrize("fault", ["refuse", "no_token", "broken"])
def test_a_provider_that_fails_is_told_in_words(provider: Provider, fault: str) -> None:
    provider.fault = fault
    browser = Client()
    response = sign_in(browser)
    if response.status_code == 302:
        response = browser.get(response.headers["Location"])
    assert response.status_code in (200, 401)
    assert "Signing in did not work" in response.content.decode()
    assert browser.get("/").status_code == 302


@pytest.mark.usefixtures("taro")
def test_an_answer_to_somebody_elses_question_is_refused(provider: Provider) -> None:
    away = Client().get(START)
    back = visit(away.headers["Location"]).replace("http://testserver", "")
    victim = Client()
    assert victim.get(back).status_code == 401
    assert victim.get("/").status_code == 302


def test_a_signed_in_person_connects_and_disconnects(provider: Provider, taro: User) -> None:
    provider.person = claims("1", "private@example.com")
    browser = people.signed_in(taro)
    asked = browser.get(reverse("socialaccount_connections"))
    assert asked.headers["Location"].startswith(reverse("account_reauthenticate"))
    assert sign_in(browser, f"{START}?process=connect").status_code == 302
    assert not SocialAccount.objects.exists()
    browser = people.signed_in(taro)
    browser.post(reverse("account_reauthenticate"), {"password": people.PASSWORD})
    page = browser.get(reverse("socialaccount_connections")).content.decode()
    assert "Connect Dojo" in page
    sign_in(browser, f"{START}?process=connect")
    account = SocialAccount.objects.get()
    assert account.user == taro
    sign_in(other := Client())
    assert other.get("/").wsgi_request.user == taro
    browser.post(reverse("socialaccount_connections"), {"account": account.pk})
    assert not SocialAccount.objects.exists()
    assert AuditEntry.objects.filter(action="single_sign_on.disconnected").exists()


def test_the_environment_alone_sets_it_up(new_portal: Portal) -> None:
    """The real portal, started with nothing but variables."""
    with Provider() as running:
        new_portal.extra_environment = environment(running)
        with new_portal.up():
            login = f"{new_portal.url}/account/login/"
            with urllib.request.urlopen(login, timeout=10) as page:  # noqa: S310
                assert "Sign in with Dojo" in page.read().decode()
            location = visit(f"{new_portal.url}{START}")
            assert location.startswith(f"{running.url}/authorize?")
            assert "code_challenge=" in location
