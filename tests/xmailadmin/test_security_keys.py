"""Answers of security keys: rubbish is refused in order, and failures are counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.internal.auth import STATE_SESSION_KEY
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import sha256, websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
)

from tests import people
from tests.xmailadmin.test_signing_in import blocked, signed_in, try_to_sign_in
from xmailadmin import limits, sessions
from xmailadmin.models import AuditEntry, User
from xmailadmin.second_factor import ANSWER_S

pytestmark = pytest.mark.django_db
after_commit = pytest.mark.usefixtures("commits")  # when allauth tells of a new factor

ADD = reverse("mfa_add_webauthn")
SIGN_IN = reverse("mfa_authenticate")
CONFIRM = reverse("mfa_reauthenticate_webauthn")
HUGE = 10**15  # bytes, if a number is taken for a length
REFUSED = "The security key was refused. Try again, or choose another way."
UP, AT = AuthenticatorData.FLAG.UP, AuthenticatorData.FLAG.AT


class Key:
    """A security key, in software."""

    def __init__(self) -> None:
        self.secret = ec.generate_private_key(ec.SECP256R1())
        public = ES256.from_cryptography_key(self.secret.public_key())  # type: ignore[no-untyped-call]
        self.data = AttestedCredentialData.create(b"\0" * 16, b"blue", public)

    def added(self, client: Client, **client_data: Any) -> str:
        data = AuthenticatorData.create(sha256(b"testserver"), UP | AT, 0, self.data)
        made = AttestationObject.create("none", data, {})
        return answer(
            clientDataJSON=told(client, "webauthn.create", **client_data),
            attestationObject=websafe_encode(made),
        )

    def used(self, client: Client, counter: int = 1, **other: Any) -> str:
        data = AuthenticatorData.create(sha256(b"testserver"), UP, counter)
        client_data = told(client, "webauthn.get", **other)
        signed = self.secret.sign(
            data + sha256(websafe_decode(client_data)), ec.ECDSA(hashes.SHA256())
        )
        return answer(
            clientDataJSON=client_data,
            authenticatorData=websafe_encode(data),
            signature=websafe_encode(signed),
        )


def told(client: Client, kind: str, origin: str = "https://testserver", **other: Any) -> str:
    challenge = client.session[STATE_SESSION_KEY]["challenge"]
    return of_client(type=kind, challenge=challenge, origin=origin, **other)


def answer(**response: Any) -> str:
    name = websafe_encode(b"blue")
    return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


def of_client(**data: Any) -> str:
    return websafe_encode(json.dumps(data).encode())


RUBBISH = {
    "number": "1",
    "null": "null",
    "no JSON": "{",
    "deep": "[" * 3000,
    "only an id": '{"id":1}',
    "no response": '{"id":"YQ","rawId":"YQ"}',
    "a list": '{"id":"YQ","rawId":"YQ","response":[]}',
    "empty response": answer(),
    "no raw id": json.dumps({"id": "YQ", "response": {"clientDataJSON": "e30"}}),
    "bad base64": answer(clientDataJSON="a", attestationObject="a"),
    "not ASCII": answer(clientDataJSON="あ", attestationObject="あ"),
    "no challenge": answer(clientDataJSON=of_client(), attestationObject="oA"),
    "huge challenge": answer(
        clientDataJSON=of_client(type="webauthn.get", origin="x", challenge=HUGE),
        authenticatorData="YQ", signature="YQ",
    ),
    "huge answer": answer(clientDataJSON=HUGE, attestationObject=HUGE, authenticatorData=HUGE),
    "huge attestation": answer(
        clientDataJSON=of_client(type="webauthn.create", origin="x", challenge="YQ"),
        attestationObject=websafe_encode(cbor.encode({"fmt": "none", "authData": HUGE})),
    ),
    "empty attestation": answer(
        clientDataJSON=of_client(type="webauthn.create", origin="x", challenge="YQ"),
        attestationObject="",
    ),
    "too long": json.dumps("a" * 20_000),
}  # fmt: skip
rubbish = pytest.mark.parametrize("text", RUBBISH.values(), ids=RUBBISH)


@pytest.fixture(autouse=True)
def _address(settings: Any) -> None:
    settings.PORTAL_URL = "https://testserver"


@pytest.fixture
def hanako() -> User:
    return people.person("operator")


def add(client: Client) -> Key:
    key = Key()
    client.get(ADD)
    client.post(ADD, {"name": "Blue", "credential": key.added(client)})
    assert Authenticator.objects.filter(type="webauthn").count() == 1
    return key


def at_second_step(user: User) -> tuple[Client, Key]:
    key = add(people.signed_in(user, confirmed=True))
    client = Client()
    try_to_sign_in(client, people.PASSWORD)
    client.get(SIGN_IN, secure=True)
    return client, key


def failures() -> int:
    return AuditEntry.objects.filter(action="second_factor.failed").count()


@rubbish
def test_rubbish_adds_no_key(hanako: User, text: str) -> None:
    client = people.signed_in(hanako, confirmed=True)
    client.get(ADD)
    response = client.post(ADD, {"credential": text})
    assert response.status_code == 200
    assert REFUSED in response.content.decode()
    assert not Authenticator.objects.filter(type="webauthn").exists()


@rubbish
def test_rubbish_signs_nobody_in(hanako: User, text: str) -> None:
    people.set_up_second_factor(hanako)
    client = Client()
    try_to_sign_in(client, people.PASSWORD)
    client.get(SIGN_IN)
    response = client.post(SIGN_IN, {"credential": text})
    assert response.status_code == 200
    assert REFUSED in str(response.context["webauthn_form"].errors)
    assert failures() == (0 if text == RUBBISH["too long"] else 1)  # as with codes


@rubbish
def test_rubbish_confirms_nothing(hanako: User, text: str) -> None:
    client = people.signed_in(hanako, confirmed=True)
    client.get(ADD)
    data = {"name": "Blue", "credential": json.loads(Key().added(client))}
    Authenticator.objects.create(user=hanako, type="webauthn", data=data)
    with time_machine.travel(timezone.now() + timedelta(seconds=301)):
        assert client.get(CONFIRM).status_code == 200
        assert client.post(CONFIRM, {"credential": text}).status_code == 302
        assert client.get(ADD).status_code == 302
    assert failures() == (0 if text == RUBBISH["too long"] else 1)


@after_commit
def test_a_refused_key_is_told_and_another_answer_signs_in(hanako: User) -> None:
    client, key = at_second_step(hanako)
    response = client.post(SIGN_IN, {"credential": Key().used(client)}, secure=True)
    assert REFUSED in response.content.decode()
    assert failures() == 1
    assert signed_in(client.post(SIGN_IN, {"credential": key.used(client)}, secure=True))
    assert failures() == 1


@after_commit
def test_after_five_refused_keys_even_the_right_one_is_blocked(hanako: User) -> None:
    client, key = at_second_step(hanako)
    for _ in range(limits.FAILURES):
        client.post(SIGN_IN, {"credential": Key().used(client)}, secure=True)
    response = client.post(SIGN_IN, {"credential": key.used(client)}, secure=True)
    assert blocked(response)
    assert failures() == limits.FAILURES
    assert AuditEntry.objects.filter(action="signin.blocked").exists()


@after_commit
def test_a_refused_key_counts_where_a_person_confirms(hanako: User) -> None:
    client = people.signed_in(hanako, confirmed=True)
    key = add(client)
    client.get(CONFIRM)
    client.post(CONFIRM, {"credential": Key().used(client)})
    assert failures() == 1
    client.get(CONFIRM)
    client.post(CONFIRM, {"credential": key.used(client)})
    assert failures() == 1


@after_commit
def test_a_refused_key_does_not_lose_the_way(hanako: User) -> None:
    client = people.signed_in(hanako, confirmed=True)
    key = add(client)
    client.get(CONFIRM, {"next": ADD})
    again = client.post(CONFIRM, {"credential": Key().used(client), "next": ADD}, follow=True)
    assert again.redirect_chain == [(f"{CONFIRM}?{urlencode({'next': ADD})}", 302)]
    assert REFUSED in again.content.decode()
    assert f'name="next" value="{ADD}"' in again.content.decode()
    confirmed = client.post(CONFIRM, {"credential": key.used(client), "next": ADD})
    assert confirmed.headers["Location"] == ADD


@after_commit
@pytest.mark.parametrize(
    ("counters", "accepted"),
    [
        ([1, 2, 7], [True, True, True]),
        ([0, 0], [True, True]),  # keys that do not count
        ([5, 4, 5, 6], [True, False, False, True]),
        ([5, 0], [True, False]),
    ],
)
def test_a_key_that_counts_back_may_be_a_copy_and_is_refused(
    hanako: User, counters: list[int], accepted: list[bool]
) -> None:
    client, key = at_second_step(hanako)
    entered = []
    for counter in counters:
        client = Client()
        try_to_sign_in(client, people.PASSWORD)
        client.get(SIGN_IN, secure=True)
        answer = {"credential": key.used(client, counter)}
        response = client.post(SIGN_IN, answer, secure=True)
        entered.append(signed_in(response))
        assert ("it may have been copied" in response.content.decode()) != entered[-1]
    assert entered == accepted
    assert failures() == accepted.count(False)


def test_an_answer_of_a_key_is_not_taken_long_after_it_was_asked(hanako: User) -> None:
    client, key = at_second_step(hanako)
    client = people.signed_in(hanako, confirmed=True)
    client.get(CONFIRM)
    answer = {"credential": key.used(client)}
    with time_machine.travel(timezone.now() + timedelta(seconds=ANSWER_S + 1)):
        client.post(CONFIRM, answer)
    assert failures() == 1


# --- Where it was asked -------------------------------------------------------------------------

ELSEWHERE = {
    "another port": {"origin": "https://testserver:8443"},
    "a name below": {"origin": "https://evil.testserver"},
    "in clear": {"origin": "http://testserver"},
    "in a frame": {"crossOrigin": True, "topOrigin": "https://evil.example"},
    "said badly": {"crossOrigin": "false"},
}
elsewhere = pytest.mark.parametrize("client_data", ELSEWHERE.values(), ids=ELSEWHERE)


@after_commit
@elsewhere
def test_no_answer_is_taken_that_another_page_got(
    hanako: User, client_data: dict[str, Any]
) -> None:
    client, key = at_second_step(hanako)
    # Whoever relays it writes what they like into Host.
    host = urlsplit(client_data.get("origin", "")).netloc.replace("evil.", "") or "testserver"
    sent = {"credential": key.used(client, **client_data)}
    response = client.post(SIGN_IN, sent, secure=True, headers={"host": host})
    assert REFUSED in str(response.context["webauthn_form"].errors)
    assert failures() == 1
    assert signed_in(client.post(SIGN_IN, {"credential": key.used(client)}, secure=True))

    client = people.signed_in(hanako, confirmed=True)
    client.get(CONFIRM)
    client.post(CONFIRM, {"credential": key.used(client, **client_data)}, headers={"host": host})
    assert failures() == 2

    client.get(ADD)
    sent = {"name": "Red", "credential": key.added(client, **client_data)}
    assert REFUSED in client.post(ADD, sent, headers={"host": host}).content.decode()
    assert Authenticator.objects.filter(type="webauthn").count() == 1


@after_commit
@pytest.mark.parametrize(
    ("address", "host", "origin"),
    [
        ("https://testserver:8443", "testserver:8443", "https://testserver:8443"),
        ("https://testserver:8443", "testserver", "https://testserver:8443"),  # a proxy left it out
        ("https://testserver:443", "testserver", "https://testserver"),
        ("https://xmail.example.jp", "testserver", "https://testserver"),  # another name it has
    ],
)
def test_the_portals_own_pages_are_at_its_port(
    hanako: User, settings: Any, address: str, host: str, origin: str
) -> None:
    settings.PORTAL_URL = address
    client = people.signed_in(hanako, confirmed=True)
    client.get(ADD)
    sent = {"name": "Blue", "credential": Key().added(client, origin=origin)}
    client.post(ADD, sent, headers={"host": host})
    assert Authenticator.objects.filter(type="webauthn").count() == 1


@pytest.mark.parametrize(
    ("host", "offered"),
    [
        ("localhost:8000", True),
        ("localhost", True),
        ("localhost:9000", False),
        (f"localhost:{'9' * 5000}", False),
        ("127.0.0.1", False),
    ],
)
def test_keys_are_offered_where_they_are_taken(
    hanako: User, settings: Any, host: str, offered: bool
) -> None:
    settings.PORTAL_URL = "http://localhost:8000"
    client = people.signed_in(hanako, confirmed=True)
    page = client.get(reverse("mfa_index"), headers={"host": host})
    assert (ADD in page.content.decode()) == offered


# --- One question, one answer -------------------------------------------------------------------


def as_it_was(client: Client) -> Callable[[], Client]:
    """Returns what makes browsers whose requests read the session as it is now."""
    before = Session.objects.get(pk=client.session.session_key)

    def read() -> Client:
        before.save()
        other = Client()
        other.cookies[settings.SESSION_COOKIE_NAME] = sessions.as_cookie(before.pk)
        return other

    return read


@after_commit
@pytest.mark.parametrize("counter", [0, 1])
def test_an_answer_signs_in_once_also_at_the_same_moment(
    hanako: User, caplog: pytest.LogCaptureFixture, counter: int
) -> None:
    client, key = at_second_step(hanako)
    sent = {"credential": key.used(client, counter)}
    read = as_it_was(client)
    assert signed_in(client.post(SIGN_IN, sent, secure=True))
    again = read().post(SIGN_IN, sent, secure=True)
    assert REFUSED in again.content.decode()
    # Whoever sends it twice has sent nothing wrong.
    assert failures() == 0
    assert "copied" not in caplog.text


@after_commit
def test_an_answer_confirms_once_also_at_the_same_moment(hanako: User) -> None:
    client = people.signed_in(hanako, confirmed=True)
    key = add(client)
    with time_machine.travel(timezone.now() + timedelta(seconds=301)):
        client.get(CONFIRM)
        sent = {"credential": key.used(client, 0)}
        read = as_it_was(client)
        client.post(CONFIRM, sent)
        assert client.get(ADD).status_code == 200
        again = read()
        again.post(CONFIRM, sent)
        assert again.get(ADD).status_code == 302
    assert failures() == 0


@after_commit
def test_an_answer_adds_one_key_also_at_the_same_moment(hanako: User) -> None:
    client = people.signed_in(hanako, confirmed=True)
    client.get(ADD)
    sent = {"name": "Blue", "credential": Key().added(client)}
    read = as_it_was(client)
    client.post(ADD, sent)
    assert REFUSED in read().post(ADD, sent).content.decode()
    assert Authenticator.objects.filter(type="webauthn").count() == 1


@after_commit
def test_the_name_of_a_key_has_no_sign_that_turns_text_round(hanako: User) -> None:
    client = people.signed_in(hanako, confirmed=True)
    add(client)
    key = Authenticator.objects.get(type="webauthn")
    for address in (reverse("mfa_edit_webauthn", args=[key.pk]), ADD):
        page = client.post(address, {"name": "re\u202ed", "credential": "{}"})
        assert "invisible character U+202E" in page.content.decode()
    assert Authenticator.objects.get(pk=key.pk).data["name"] == "Blue"
