"""Changing second factors takes a second factor; recovery codes are shown once."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests import people
from tests.xmailadmin.test_signing_in import second_step, set_up, signed_in, try_to_sign_in
from xmailadmin.access import ACCESS
from xmailadmin.models import AuditEntry, User

pytestmark = pytest.mark.django_db
after_commit = pytest.mark.usefixtures("commits")  # when allauth tells of a new factor


@pytest.fixture
def hanako() -> User:
    return people.person("operator")


FACTOR_PAGES = (
    "mfa_activate_totp",
    "mfa_deactivate_totp",
    "mfa_add_webauthn",
    "mfa_edit_webauthn",
    "mfa_remove_webauthn",
    "mfa_view_recovery_codes",
    "mfa_generate_recovery_codes",
    "mfa_download_recovery_codes",
)


def test_an_old_second_factor_and_the_password_make_no_new_one(hanako: User) -> None:
    client = people.signed_in(hanako, confirmed=True, ago_s=301)
    client.post(reverse("account_reauthenticate"), {"password": people.PASSWORD})
    for name in FACTOR_PAGES:
        address = reverse(
            name, args=[1] if name in ("mfa_edit_webauthn", "mfa_remove_webauthn") else []
        )
        for response in (client.get(address), client.post(address)):
            assert response.status_code == 302, name
            assert response.headers["Location"].startswith(reverse("mfa_reauthenticate")), name
    assert Authenticator.objects.get(user=hanako).type == Authenticator.Type.TOTP


def test_every_page_of_second_factors_is_guarded() -> None:
    """But for lists, and for where a factor is shown."""
    of_factors = {name for name in ACCESS if name.startswith("mfa_")}
    assert {name for name in of_factors if ACCESS[name].guard_seeing} == set(FACTOR_PAGES)
    first = {name for name, rule in ACCESS.items() if rule.first_factor}
    assert first == {"mfa_activate_totp", "mfa_add_webauthn"}


@pytest.mark.parametrize(
    "spelling", ["{0}-{1}", "{0[0]}{0[1]} {0[2]}{1[0]}.{1[1]}{1[2]}", "{0}{1}!"]
)
def test_a_code_does_not_work_again_however_it_is_written(hanako: User, spelling: str) -> None:
    people.set_up_second_factor(hanako)
    half = timezone.now().replace(second=0, microsecond=0)
    with time_machine.travel(half, tick=False):
        first, code = Client(), people.code()
        try_to_sign_in(first, people.PASSWORD)
        assert signed_in(second_step(first, code))
    with time_machine.travel(half + timedelta(seconds=45), tick=False):
        second, again = Client(), spelling.format(code[:3], code[3:])
        try_to_sign_in(second, people.PASSWORD)
        assert totp.validate_totp_code(people.SECRET, again)  # the spelling would do
        assert not signed_in(second_step(second, again))


@after_commit
@pytest.mark.parametrize("written", ["{0}{1}", "{0}-{1}"])
def test_the_code_that_set_up_an_app_is_used_up(hanako: User, written: str) -> None:
    half = timezone.now().replace(second=0, microsecond=0)
    with time_machine.travel(half, tick=False):
        secret = set_up(people.signed_in(hanako))
        other, code = Client(), people.code(secret)
        try_to_sign_in(other, people.PASSWORD)
        assert not signed_in(second_step(other, written.format(code[:3], code[3:])))


@after_commit
def test_the_first_second_factor_ends_sessions_that_showed_none(hanako: User) -> None:
    """Whoever knew the password before goes no further."""
    here, elsewhere, stranger = Client(), Client(), Client()
    for browser in (here, elsewhere):
        try_to_sign_in(browser, people.PASSWORD)
    people.person("operator", username="taro")
    stranger.post(reverse("account_login"), {"login": "taro", "password": people.PASSWORD})
    set_up(here)
    page = here.get("/").content.decode()
    assert "Wherever else you were signed in, you are signed out now." in page
    assert elsewhere.get("/").status_code == 302
    assert stranger.get("/").status_code == 200
    entry = AuditEntry.objects.filter(action="second_factor.added").last()
    assert entry is not None
    assert entry.detail == {"kind": "totp", "sessions": 1}


@after_commit
def test_a_further_second_factor_ends_no_session(hanako: User) -> None:
    elsewhere = Client()
    try_to_sign_in(elsewhere, people.PASSWORD)
    Authenticator.objects.create(user=hanako, type=Authenticator.Type.WEBAUTHN, data={})
    set_up(people.signed_in(hanako, confirmed=True))
    assert elsewhere.get("/").status_code == 200


def test_recovery_codes_are_shown_once(hanako: User) -> None:
    view, download = reverse("mfa_view_recovery_codes"), reverse("mfa_download_recovery_codes")
    client = people.signed_in(hanako, confirmed=True)
    codes = RecoveryCodes.activate(hanako).get_unused_codes()
    for address in (view, download):
        assert codes[0] in client.get(address).content.decode()
    with time_machine.travel(timezone.now() + timedelta(seconds=301)):
        people.sign_in(client, hanako, confirmed=True)
        for address in (view, download):
            response = client.get(address, follow=True)
            assert response.resolver_match.view_name == "mfa_generate_recovery_codes"
            assert codes[0] not in response.content.decode()
        assert "Show the codes" not in client.get(reverse("mfa_index")).content.decode()
        client.post(reverse("mfa_generate_recovery_codes"))
        assert (
            RecoveryCodes.activate(hanako).get_unused_codes()[0]
            in client.get(view).content.decode()
        )


def test_the_only_administrator_who_lost_the_second_factor_gets_in_again() -> None:
    boss = people.person("administrator", username="boss")
    people.set_up_second_factor(boss)
    waiting, login = Client(), reverse("account_login")
    sent = {"login": "boss", "password": people.PASSWORD}
    waiting.post(login, sent)
    call_command("remove_second_factor", "boss")
    assert waiting.get(login, follow=True).status_code == 200
    again = Client()
    again.post(login, sent)
    assert again.get("/").status_code == 200
    entry = AuditEntry.objects.get(action="person.second_factor_removed")
    assert (entry.actor_name, entry.object_name) == ("system", "boss")
    for name, told in (("boss", "boss has no second factor."), ("taro", "Nobody is called taro.")):
        with pytest.raises(CommandError, match=told):
            call_command("remove_second_factor", name)
