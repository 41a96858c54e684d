"""Who chooses where private keys go has just shown who it is; the audit says where they went."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hosts import deploy
from hosts.models import Host
from tests import people
from tests.factories import issued_pair, local_host
from tests.hosts.pages import text
from xmailadmin import access
from xmailadmin.models import AuditEntry

pytestmark = pytest.mark.django_db
PASSWORD = reverse("account_reauthenticate")
FACTOR = reverse("mfa_reauthenticate")


@pytest.fixture
def forms(tmp_path: Path) -> list[str]:
    """Where it is said to which hosts keys go."""
    host = local_host(tmp_path)
    of_host = [reverse(name, args=[host.pk]) for name in ("host_edit", "host_reenrol")]
    return [reverse("host_add"), reverse("host_import"), *of_host]


def asked(client: Client, address: str, *, send: bool = False) -> str:
    """Where the person is led to, "" if it is let through."""
    response = client.post(address, {"name": "x"}) if send else client.get(address)
    if response.status_code == 200 or "/account/" not in response.headers["Location"]:
        return ""
    there, _, query = str(response.headers["Location"]).partition("?")
    assert query == f"next={address.replace('/', '%2F')}"
    return there


def test_who_has_just_signed_in_is_not_asked(forms: list[str]) -> None:
    client = Client()
    people.person("operator")
    client.post(reverse("account_login"), {"login": "hanako", "password": people.PASSWORD})
    for form in forms:
        assert (asked(client, form), asked(client, form, send=True)) == ("", "")


def test_who_signed_in_a_while_ago_is_asked_before_the_form_is_filled_in(forms: list[str]) -> None:
    client = people.signed_in(people.person("operator"), ago_s=access.FRESH_S + 1)
    for form in forms:
        assert asked(client, form) == PASSWORD
    page = text(client.get(forms[0], follow=True))
    assert "Confirm that it is you" in page
    done = client.post(PASSWORD, {"password": people.PASSWORD, "next": forms[0]})
    assert done.headers["Location"] == forms[0]
    assert asked(client, forms[0]) == ""


def test_who_has_a_second_factor_shows_that_one(forms: list[str]) -> None:
    user = people.person("operator")
    people.set_up_second_factor(user)
    client = people.signed_in(user)  # as with a password that was just typed
    for form in forms:
        assert asked(client, form) == FACTOR
    client.post(FACTOR, {"code": people.code(), "next": forms[0]})
    for form in forms:
        assert asked(client, form) == ""


def later(seconds: float) -> Any:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds))


def test_nobody_loses_a_form_that_took_a_while(forms: list[str]) -> None:
    client = people.signed_in(people.person("operator"))
    for form in forms:
        assert asked(client, form) == ""
    with later(access.FORM_S - 60):
        for form in forms:
            assert asked(client, form, send=True) == ""
            assert asked(client, form, send=True) == ""  # what was wrong in it is put right
    with later(access.FORM_S + 1):
        for form in forms:
            assert asked(client, form, send=True) == PASSWORD


def test_a_session_that_was_left_open_changes_no_host(forms: list[str]) -> None:
    client = people.signed_in(people.person("operator"), ago_s=access.FRESH_S + 1)
    for form in forms:
        assert asked(client, form) == PASSWORD  # which opens nothing
        assert asked(client, form, send=True) == PASSWORD
    assert AuditEntry.objects.filter(action="access.unconfirmed").count() == len(forms)
    assert Host.objects.get().name != "x"


def test_an_open_form_opens_no_other_and_no_other_session(forms: list[str]) -> None:
    user = people.person("operator")
    client, other = people.signed_in(user), people.signed_in(user)
    assert asked(client, forms[0]) == ""
    with later(access.FRESH_S + 1):
        assert asked(other, forms[0], send=True) == PASSWORD
        for form in forms[1:]:
            assert asked(client, form, send=True) == PASSWORD
        assert asked(client, forms[0]) == PASSWORD
        assert asked(client, forms[0], send=True) == ""


def test_a_test_of_a_host_belongs_to_the_form_it_is_in(forms: list[str]) -> None:
    """It logs in at the host with what is stored, like the form itself."""
    add, _, edit, _ = forms
    tests = {add: reverse("host_mailroot_check"), edit: f"{edit}check/"}
    user = people.person("operator")
    client, left_open = people.signed_in(user), people.signed_in(user, ago_s=access.FRESH_S + 1)
    for form, test in tests.items():
        away = left_open.post(test, {"name": "x"})
        assert away.headers["Location"] == f"{PASSWORD}?next={form.replace('/', '%2F')}"
        part = left_open.post(test, {"name": "x"}, headers={"HX-Request": "true"})
        assert part.headers["HX-Redirect"] == away.headers["Location"]
        assert (part.status_code, part.content) == (200, b"")
    client.get(add)
    with later(access.FRESH_S + 1):
        assert client.post(tests[add], {"name": "x"}).status_code == 200
        assert client.post(tests[edit], {"name": "x"}).status_code == 302


def test_who_has_nothing_to_confirm_by_is_let_through(forms: list[str]) -> None:
    user = people.person("operator")
    user.set_unusable_password()
    user.save()
    assert asked(people.signed_in(user, ago_s=access.FORM_S + 1), forms[0]) == ""


def test_the_audit_says_which_key_went_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "HOSTS_AN_ENTRY", 2)
    pair = issued_pair()
    hosts = [local_host(tmp_path / f"{at}", name=f"mail{at}") for at in range(3)]
    deployment = deploy.create_deployment(pair, hosts, by=people.person("operator"))
    entries = AuditEntry.objects.filter(action="pair.send").order_by("number")
    assert [entry.object_id for entry in entries] == [str(pair.pk)] * 2
    assert {entry.actor_name for entry in entries} == {"hanako"}
    told = [f"{host.name} ({host.mailroot})" for host in hosts]
    assert [entry.detail for entry in entries] == [
        {"deployment": deployment.pk, "hosts": told[:2]},
        {"deployment": deployment.pk, "hosts": told[2:]},
    ]
