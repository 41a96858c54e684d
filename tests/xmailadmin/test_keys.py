"""Private keys leave by one way alone: a key holder who has just shown a second factor."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.db import DatabaseError
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import reverse

from certs.models import Pair
from tests import people
from tests.factories import issued_pair
from tests.tally import Tally
from xmailadmin import access, audit
from xmailadmin.models import AuditEntry, User
from xmailadmin.roles import ROLES

pytestmark = pytest.mark.django_db

WHO = ("anonymous", *ROLES)
PAGES = ("pair_key", "pair_zip")
STATES = ("good", "stale", "no second factor", "missing", "GET", "disabled", "audit failing")


@pytest.fixture
def pair() -> Pair:
    return issued_pair()


def browser_of(who: str, state: str) -> Client:
    if who == "anonymous":
        return Client()
    user = people.person(who, username=who)
    ago_s = access.FRESH_S + 1 if state == "stale" else 0
    client = people.signed_in(user, confirmed=True, ago_s=ago_s)
    if state == "no second factor":
        Authenticator.objects.all().delete()
    if state == "disabled":
        User.objects.filter(pk=user.pk).update(is_active=False)
    return client


def ask(client: Client, name: str, state: str, pair: Pair) -> HttpResponseBase:
    client.raise_request_exception = False
    address = reverse(name, args=[pair.pk + 1000 if state == "missing" else pair.pk])
    response: HttpResponseBase = client.get(address) if state == "GET" else client.post(address)
    return response


def gave_a_key(response: Any) -> bool:
    return b"PRIVATE KEY" in response.content or response.content.startswith(b"PK")


@pytest.mark.parametrize("name", PAGES)
def test_of_all_ways_to_a_key_one_is_open(
    name: str, pair: Pair, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    opened = []
    for who, state in product(WHO, STATES):
        client = browser_of(who, state)
        with monkeypatch.context() as patch:
            if state == "audit failing":
                patch.setattr(audit, "record", broken)
            response = ask(client, name, state, pair)
        if gave_a_key(response):
            opened.append((who, state))
        tally.add("keys", refused=not gave_a_key(response))
        User.objects.all().delete()
    assert opened == [("key_holder", "good")]
    assert AuditEntry.objects.filter(action=name.replace("_", ".")).count() == 1


def broken(*_: object, **__: object) -> None:
    raise DatabaseError("the disk is full")


@pytest.mark.parametrize("name", PAGES)
def test_a_superuser_follows_the_same_rules(name: str, pair: Pair) -> None:
    root = User.objects.create_superuser("root")
    assert not gave_a_key(ask(people.signed_in(root), name, "good", pair))
    assert gave_a_key(ask(people.signed_in(root, confirmed=True), name, "good", pair))


@pytest.mark.parametrize("name", PAGES)
def test_without_a_second_factor_one_is_told_how_to_get_one(name: str, pair: Pair) -> None:
    client = people.signed_in(people.person("key_holder"))
    response = client.post(reverse(name, args=[pair.pk]), follow=True)
    html = response.content.decode()
    assert "What you want to do needs a second factor." in html
    assert f'href="{reverse("mfa_index")}"' in html
    assert client.session["continue_to"] == pair.get_absolute_url()
    entry = AuditEntry.objects.get(action="access.unconfirmed")
    assert entry.detail["path"] == reverse(name, args=[pair.pk])


def test_a_stale_confirmation_is_asked_for_again_and_leads_back(pair: Pair) -> None:
    client = people.signed_in(people.person("key_holder"), confirmed=True, ago_s=301)
    address = reverse("pair_key", args=[pair.pk])
    response = client.post(address, follow=True)
    assert response.resolver_match.view_name == "mfa_reauthenticate"
    to = f"{reverse('mfa_reauthenticate')}?next={pair.get_absolute_url()}"
    back = client.post(to, {"code": people.code()}, follow=True)
    assert back.resolver_match.view_name == "pair_detail"
    assert gave_a_key(client.post(address))


def test_a_password_alone_confirms_nothing(pair: Pair) -> None:
    client = people.signed_in(people.person("key_holder"), confirmed=True, ago_s=301)
    client.post(reverse("account_reauthenticate"), {"password": people.PASSWORD})
    assert not gave_a_key(client.post(reverse("pair_key", args=[pair.pk])))


def test_a_confirmation_belongs_to_one_session(pair: Pair) -> None:
    user = people.person("key_holder")
    confirmed, other = people.signed_in(user, confirmed=True), people.signed_in(user)
    address = reverse("pair_key", args=[pair.pk])
    assert not gave_a_key(other.post(address))
    assert gave_a_key(confirmed.post(address))


def test_a_confirmation_from_the_future_is_none(pair: Pair) -> None:
    client = people.signed_in(people.person("key_holder"), confirmed=True, ago_s=-600)
    assert not gave_a_key(client.post(reverse("pair_key", args=[pair.pk])))


@pytest.mark.usefixtures("commits")  # allauth tells of a new factor after the commit
def test_from_no_second_factor_to_the_key(pair: Pair) -> None:
    """The whole way, as a person goes it who has just been given the role."""
    client = people.signed_in(people.person("key_holder"))
    address = reverse("pair_key", args=[pair.pk])
    assert "second factor" in client.post(address, follow=True).content.decode()

    asked = client.get(reverse("mfa_activate_totp"), follow=True)
    assert asked.resolver_match.view_name == "account_reauthenticate"
    to = f"{reverse('account_reauthenticate')}?next={reverse('mfa_activate_totp')}"
    form = client.post(to, {"password": people.PASSWORD}, follow=True)
    assert form.resolver_match.view_name == "mfa_activate_totp"
    secret = form.context["form"].secret
    done = client.post(reverse("mfa_activate_totp"), {"code": people.code(secret)})
    codes = client.get(done.headers["Location"])
    assert codes.resolver_match.view_name == "mfa_view_recovery_codes"
    assert f'href="{reverse("continue_to")}"' in codes.content.decode()
    back = client.get(reverse("continue_to"))
    assert back.headers["Location"] == pair.get_absolute_url()
    assert gave_a_key(client.post(address))
