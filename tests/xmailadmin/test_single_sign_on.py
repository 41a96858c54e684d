"""Single sign-on through a real provider, set up by environment variables alone."""

from __future__ import annotations

import unicodedata
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.core.cache import caches
from django.db.models.lookups import IExact
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from tests import people
from tests.doubles.oidc import CLIENT_ID, CLIENT_SECRET, Provider, claims
from tests.portal import Portal
from xmailadmin import oidc_settings, roles
from xmailadmin import people as team
from xmailadmin.home import HomeError
from xmailadmin.models import LINK_AGE, AccessLink, AuditEntry, User

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
    caches["addresses"].clear()
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
        *(
            {"sub": "2", "email": "taro@example.jp", "email_verified": text}
            for text in ("false", "true", "0", "no", " ", 1, [0], {"a": 1})
        ),
        {"sub": "2", "email": ["taro@example.jp"], "email_verified": True},
        {"sub": "2", "email": 7, "email_verified": True},
        {"sub": "2", "email": "taro@example.jp\0", "email_verified": True},
        {"sub": "2", "email": "\ud800taro@example.jp", "email_verified": True},
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


@pytest.mark.parametrize(
    "alike", ["vıv@example.jp", "ViV@eXample.jp", "viv@ſxample.jp", "viv@\u212a.jp"]
)
def test_only_the_same_address_is_the_same_person(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, alike: str
) -> None:
    """For PostgreSQL the first and the others are alike: it compares capital letters."""
    same = alike == "ViV@eXample.jp"
    person = people.person("viewer", username="viv")
    kept = unicodedata.normalize("NFKC", alike).lower().replace("ı", "i")
    User.objects.filter(pk=person.pk).update(email=kept)
    monkeypatch.setattr(IExact, "as_sql", lambda self, *_: ("1 = 1", []))  # everybody is alike
    provider.person = claims("9", alike)
    assert sign_in(Client()).status_code == (302 if same else 403)
    assert SocialAccount.objects.exists() == same


def test_a_disabled_person_stays_out(provider: Provider, taro: User) -> None:
    User.objects.filter(pk=taro.pk).update(is_active=False)
    browser = Client()
    sign_in(browser)
    assert browser.get("/").status_code == 302
    assert not SocialAccount.objects.exists()
    User.objects.filter(pk=taro.pk).update(is_active=True)
    sign_in(browser)
    User.objects.filter(pk=taro.pk).update(is_active=False)
    assert sign_in(other := Client()).headers["Location"] == reverse("account_inactive")
    assert other.get("/").status_code == 302


@pytest.mark.usefixtures("provider")
def test_an_invitation_that_has_ended_lets_nobody_in() -> None:
    team.invite(_boss(), "taro", "taro@example.jp", ["viewer"])
    with time_machine.travel(timezone.now() + LINK_AGE + timedelta(seconds=1)):
        page = sign_in(Client())
        assert (page.status_code, SocialAccount.objects.exists()) == (403, False)
        assert "ask for a new link" in page.content.decode()
        team.make_link(_boss(), User.objects.get(username="taro"))
        assert sign_in(Client()).headers["Location"] == "/"
    assert not AccessLink.objects.exists()


def _boss() -> HttpRequest:
    request = RequestFactory().get("/")
    request.user, _made = User.objects.get_or_create(username="boss")
    return request


def test_single_sign_on_does_not_confirm_who_it_is_where_there_is_a_password(
    provider: Provider, taro: User
) -> None:
    """The provider may answer whoever sits at a browser that was left open."""
    sign_in(browser := Client())
    there = browser.get(reverse("host_add")).headers["Location"]
    assert there.startswith(reverse("account_reauthenticate"))
    taro.set_unusable_password()
    taro.save()
    sign_in(browser := Client())
    assert browser.get(reverse("host_add")).status_code == 200


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


# --- Connecting -------------------------------------------------------------------------------

CONNECT, CONFIRM = reverse("socialaccount_connect"), reverse("socialaccount_confirm")
LOGINS = reverse("socialaccount_connections")


def confirmed(user: User) -> Client:
    """A browser whose person has just entered the password again."""
    browser = people.signed_in(user)
    browser.post(reverse("account_reauthenticate"), {"password": people.PASSWORD})
    return browser


def begin_to_connect(browser: Client) -> Any:
    """Goes to the provider by the form, and comes back."""
    page = browser.post(CONNECT)
    seconds, _, address = page.headers["Refresh"].partition("; url=")
    assert (seconds, f'href="{address}"' in page.content.decode()) == ("0", True)
    return sign_in(browser, address)


def test_a_signed_in_person_connects_and_disconnects(provider: Provider, taro: User) -> None:
    provider.person = claims("1", "private@example.com")
    asked = people.signed_in(taro).get(LOGINS)
    assert asked.headers["Location"].startswith(reverse("account_reauthenticate"))
    browser = confirmed(taro)
    assert "Connect Dojo" in browser.get(LOGINS).content.decode()
    assert begin_to_connect(browser).headers["Location"] == CONFIRM
    assert "private@example.com" in browser.get(CONFIRM).content.decode()
    assert not SocialAccount.objects.exists()
    assert browser.post(CONFIRM).headers["Location"] == LOGINS
    account = SocialAccount.objects.get()
    assert account.user == taro
    sign_in(other := Client())
    assert other.get("/").wsgi_request.user == taro
    browser.post(LOGINS, {"account": account.pk})
    assert not SocialAccount.objects.exists()
    actions = AuditEntry.objects.filter(action__startswith="single_sign_on")
    assert [entry.action.partition(".")[2] for entry in actions] == ["disconnected", "connected"]


@pytest.mark.usefixtures("provider")
def test_a_link_connects_nothing(taro: User) -> None:
    for browser in (people.signed_in(taro), confirmed(taro)):
        there = browser.get(f"{START}?process=connect").headers["Location"]
        assert there == LOGINS
        assert browser.get(CONFIRM).headers["Location"] != CONFIRM
        browser.post(CONFIRM)
    assert not SocialAccount.objects.exists()


@pytest.mark.usefixtures("provider")
def test_a_form_leads_to_the_provider_once_and_soon(taro: User) -> None:
    browser = confirmed(taro)
    address = browser.post(CONNECT).headers["Refresh"].partition("url=")[2]
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        assert browser.get(address).headers["Location"] == LOGINS
    begin_to_connect(browser)
    assert browser.get(address).headers["Location"] == LOGINS


@pytest.mark.usefixtures("provider")
def test_connecting_asks_who_it_is_before_and_after_the_way_to_the_provider(taro: User) -> None:
    asking = reverse("account_reauthenticate")
    stranger = people.signed_in(taro)
    assert stranger.post(CONNECT).headers["Location"].startswith(asking)
    browser = confirmed(taro)
    begin_to_connect(browser)
    with time_machine.travel(timezone.now() + timedelta(minutes=6)):
        assert browser.post(CONFIRM).headers["Location"].startswith(asking)
    with time_machine.travel(timezone.now() + timedelta(minutes=11)):
        browser.post(asking, {"password": people.PASSWORD})
        assert browser.post(CONFIRM).headers["Location"] == LOGINS
    assert not SocialAccount.objects.exists()


def test_a_second_login_is_not_connected(provider: Provider, taro: User) -> None:
    first, second = confirmed(taro), confirmed(taro)
    begin_to_connect(first)
    provider.person = claims("2", "private@example.com")
    begin_to_connect(second)
    first.post(CONFIRM)
    second.post(CONFIRM)
    assert "disconnect the login that you have first" in second.get(LOGINS).content.decode()
    assert SocialAccount.objects.get().uid == "1"


def test_a_login_of_somebody_else_is_not_connected(provider: Provider, taro: User) -> None:
    sign_in(Client())
    browser = confirmed(people.person("operator", username="jiro"))
    assert begin_to_connect(browser).headers["Location"] == LOGINS
    assert "Somebody else here is connected" in browser.get(LOGINS).content.decode()
    assert SocialAccount.objects.get().user == taro


# --- Setting it up ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://idp.example.jp", True),
        ("http://localhost:8080/realms/dojo", True),
        ("http://[::1]:8080", True),
        ("http://idp.example.jp", False),
        ("http://127.0.0.1.example.jp", False),
        ("idp.example.jp", False),
    ],
)
def test_a_provider_is_asked_by_https(
    monkeypatch: pytest.MonkeyPatch, url: str, taken: bool
) -> None:
    monkeypatch.setenv("XMAILADMIN_OIDC_URL", url)
    if taken:
        assert oidc_settings.providers()
    else:
        with pytest.raises(HomeError, match="must begin with https://"):
            oidc_settings.providers()


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


def test_an_administrator_disconnects_somebodys_login(provider: Provider, taro: User) -> None:
    sign_in(browser := Client())
    boss = people.signed_in(people.person("administrator", username="boss"), confirmed=True)
    assert "Taro@example.jp" in boss.get(taro.get_absolute_url()).content.decode()
    address = reverse("person_single_sign_on", args=[taro.pk])
    assert "Disconnect the single sign-on of taro?" in boss.get(address).content.decode()
    for told in ("is disconnected, and every session has ended", "has no such login by now"):
        page = boss.post(address, follow=True)
        assert page.redirect_chain[0][0] == taro.get_absolute_url()
        assert f"taro {told}" in page.content.decode().replace("The login of ", "")
    assert not SocialAccount.objects.exists()
    assert browser.get("/").status_code == 302
    entry = AuditEntry.objects.get(action="single_sign_on.disconnected")
    assert (entry.actor_name, entry.object_name) == ("boss", "taro")


def test_a_login_that_is_disconnected_as_somebody_comes_in_by_it_stays_gone(
    provider: Provider, taro: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(Client())
    usual = SocialLogin.lookup

    def late(self: SocialLogin) -> None:
        save = SocialAccount.save

        def after_the_administrator(account: SocialAccount, *args: Any, **more: Any) -> None:
            monkeypatch.setattr(SocialAccount, "save", save)
            SocialAccount.objects.all().delete()
            account.save(*args, **more)

        monkeypatch.setattr(SocialAccount, "save", after_the_administrator)
        monkeypatch.setattr(SocialLogin, "lookup", usual)
        self.lookup()

    monkeypatch.setattr(SocialLogin, "lookup", late)
    browser = Client()
    assert sign_in(browser).status_code == 401
    assert browser.get("/").status_code == 302
    assert not SocialAccount.objects.exists()


def test_the_last_administrator_is_not_disconnected(provider: Provider, taro: User) -> None:
    sign_in(Client())
    taro.set_unusable_password()
    taro.save()
    roles.give(taro, ["administrator"])
    browser = people.signed_in(taro, confirmed=True)
    address = reverse("person_single_sign_on", args=[taro.pk])
    page = browser.post(address, follow=True).content.decode()
    assert "nobody would be left who can manage people" in page
    assert browser.get("/").status_code == 200
    assert SocialAccount.objects.filter(user=taro).exists()
