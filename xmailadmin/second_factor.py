"""Second factors: authenticator apps, security keys and recovery codes, their secrets sealed."""

from __future__ import annotations

import ipaddress
import json
import logging
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp_forms
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.webauthn import forms as webauthn_forms
from allauth.mfa.webauthn.internal import auth as webauthn
from django import forms
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.shortcuts import get_object_or_404
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from fido2 import cbor
from fido2.server import Fido2Server
from fido2.utils import websafe_decode
from fido2.webauthn import AuthenticationResponse, PublicKeyCredentialRpEntity

from certs.names import Refused, normalise_text
from certs.problems import refusal
from xmailadmin import audit, limits, vault
from xmailadmin.models import AuthenticatorSecret, User

__all__ = ["MFAAdapter", "forget_secrets", "harden", "works_with_security_keys"]

logger = logging.getLogger(__name__)

PREFIX = "sealed:"
PORTAL = "xmailadmin"
PORTS = {"http": 80, "https": 443}  # which addresses do not name
USED_FOR_S = 360  # longer than any code works, or a security key may take to answer
USES = "counter"  # in the data of a security key: what it counted when it was last used
ASKED_AT, ANSWER_S = "asked_at", 300  # in the state of what a security key is asked
LONGEST_ANSWER = 16_384  # of a security key; real ones have one to three thousand letters
LONGEST_NAME = 60  # of a security key
ANSWER = ("id", "rawId", "type")
RESPONSE = ("clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle")
# What fido2 raises when an answer is rubbish; RecursionError is a RuntimeError.
RUBBISH = (
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
KEY_REFUSED = _("The security key was refused. Try again, or choose another way.")
KEY_COPIED = _(
    "The security key was refused, because it may have been copied. Choose another way, and tell "
    "an administrator."
)


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Keeps secrets in sealed rows of ours; allauth's rows hold only their numbers."""

    def encrypt(self, text: str) -> str:
        with transaction.atomic():
            row = AuthenticatorSecret.objects.create()
            row.secret_sealed = vault.seal(text.encode(), vault.place(row, "secret_sealed"))
            row.save()
        return f"{PREFIX}{row.pk}"

    def decrypt(self, encrypted_text: str) -> str:
        row = AuthenticatorSecret.objects.get(pk=encrypted_text.removeprefix(PREFIX))
        return vault.open_sealed(row.secret_sealed, vault.place(row, "secret_sealed")).decode()

    def get_totp_issuer(self) -> str:
        return PORTAL

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        from allauth.core import context

        return {"id": _host_name(context.request), "name": PORTAL}


def forget_secrets(instance: Authenticator) -> None:
    """Deletes the sealed rows of an authenticator that was deleted."""
    held = [str(instance.data.get(name, "")) for name in ("secret", "seed")]
    numbers = [text.removeprefix(PREFIX) for text in held if text.startswith(PREFIX)]
    AuthenticatorSecret.objects.filter(pk__in=numbers).delete()


def works_with_security_keys(request: HttpRequest) -> bool:
    """True if browsers offer security keys here: on a host name, by HTTPS or on this machine, and
    if their answers are taken: not at another port than the portal's own."""
    name, port = split_domain_port(request.get_host())
    if port not in ("", str(_port())):  # some proxies leave it out
        return False
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return request.is_secure() or name == "localhost" or name.endswith(".localhost")
    return False


def _host_name(request: HttpRequest) -> str:
    return split_domain_port(request.get_host())[0]


def _origin(request: HttpRequest) -> str:
    """Returns the origin of the portal's own pages, under the name by which it was asked.

    Scheme and port are those of XMAILADMIN_URL, not of the request: Host is written by whoever
    sends an answer, and may name the port of the page that got it from somebody. The name is one
    that is allowed, and the answer is signed for it.
    """
    scheme, port = urlsplit(settings.PORTAL_URL).scheme, _port()
    return f"{scheme}://{_host_name(request)}" + (f":{port}" if port != PORTS[scheme] else "")


def _port() -> int:
    url = urlsplit(settings.PORTAL_URL)
    return url.port or PORTS[url.scheme]


class CodeInput(forms.TextInput):
    """A field whose content is never sent back: people mistype passwords as codes."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


def _code_field(label: Any) -> forms.CharField:
    attributes = {"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
    return forms.CharField(label=label, max_length=20, widget=CodeInput(attributes))


@contextmanager
def _limited(user: User) -> Iterator[None]:
    """Counts a second factor that is refused like a wrong password: by account and address."""
    from allauth.core import context

    counted = limits.begin(context.request, user.get_username())
    try:
        yield
    except ValidationError:
        limits.failed(context.request, user.get_username(), second_factor=True)
        limits.missed(counted)
        raise
    except BaseException:
        limits.passed(counted)  # nobody has said that it was wrong
        raise
    limits.passed(counted)


class _LimitedCode:
    """Counts wrong codes."""

    user: User

    def clean_code(self) -> str:
        with _limited(self.user):
            code: str = super().clean_code()  # type: ignore[misc]
            if not _use(self.user, code):
                raise get_adapter().validation_error("incorrect_code")
        return code


def _use(user: User, code: str) -> bool:
    """Remembers that a code was used, or what a security key was asked; False if it was before.

    allauth forgets a code after half a minute, while our tolerance for wrong clocks lets it work
    for longer. However it is written: allauth compares without punctuation, in lower case. What a
    key was asked is in the session, which many requests may read before one of them is answered.
    """
    digest = salted_hmac("xmailadmin.code", normalize_user_code(code)).hexdigest()
    # A full cache drops keys from the start of the alphabet: those of tries, which strangers can
    # make, come before this one.
    return bool(cache.add(f"xmailadmin.used:{user.pk}:{digest}", "used", USED_FOR_S))


class AuthenticateForm(_LimitedCode, mfa_forms.AuthenticateForm):  # type: ignore[misc]
    """The second step of signing in."""

    code = _code_field(_("Code of your authenticator app, or a recovery code"))


class ReauthenticateForm(_LimitedCode, mfa_forms.ReauthenticateForm):  # type: ignore[misc]
    """The same, to confirm that it is still the same person."""

    code = _code_field(_("Code of your authenticator app, or a recovery code"))


class ActivateTOTPForm(totp_forms.ActivateTOTPForm):  # type: ignore[misc]
    """Sets up an authenticator app; its secret waits in the session sealed."""

    code = _code_field(_("Code that the app shows"))

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        forms.Form.__init__(self, *args, **kwargs)
        self.user = user
        self.secret = _pending_secret(user, new=not self.is_bound)

    def clean_code(self) -> str:
        code: str = super().clean_code()
        _use(self.user, code)  # nobody who saw it can sign in with it
        return code


@contextmanager
def _key_is_refused() -> Iterator[None]:
    """Says so of a key, whose person entered no code, also where it answered rubbish."""
    try:
        yield
    except (ValidationError, *RUBBISH) as error:
        if isinstance(error, ValidationError) and error.code != "incorrect_code":
            raise
        raise ValidationError(KEY_REFUSED) from error


def _answer(text: str) -> dict[str, Any]:
    """Reads what a security key answered, and keeps only what is needed of it.

    fido2 makes as many bytes as a number says where it expects text: no numbers there. It takes
    what was asked in somebody else's frame.
    """
    given = json.loads(text)
    response = _texts(given["response"], RESPONSE)
    client_data = json.loads(websafe_decode(response["clientDataJSON"]))
    if not isinstance(client_data["challenge"], str):
        raise TypeError("challenge")
    if client_data.get("crossOrigin", False) is not False:
        raise ValueError("crossOrigin")
    if "attestationObject" in response:
        attestation: Any = cbor.decode(websafe_decode(response["attestationObject"]))
        if not isinstance(attestation["authData"], bytes):
            raise TypeError("authData")
    return {**_texts(given, ANSWER), "response": response}


def _texts(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: given[name] for name in names if given.get(name) is not None}
    if not all(isinstance(text, str) and text.isprintable() for text in found.values()):
        raise TypeError("not text")
    return found


def _answer_field() -> forms.CharField:
    refused = {"required": KEY_REFUSED, "max_length": KEY_REFUSED}
    return forms.CharField(
        max_length=LONGEST_ANSWER, widget=forms.HiddenInput, error_messages=refused
    )


class _LimitedAnswer:
    """Counts wrong answers of security keys."""

    user: User
    cleaned_data: dict[str, Any]

    def clean_credential(self) -> Authenticator:
        asked = _asked() or {}
        with _limited(self.user), _key_is_refused():
            self.cleaned_data["credential"] = _answer(self.cleaned_data["credential"])
            authenticator: Authenticator = super().clean_credential()  # type: ignore[misc]
            if first := _use(self.user, asked["challenge"]):
                _count_use(authenticator, self.cleaned_data["credential"])
        if not first:  # neither wrong nor a copy's: it was sent twice
            raise ValidationError(KEY_REFUSED)
        return authenticator


def _count_use(authenticator: Authenticator, answer: dict[str, Any]) -> None:
    """Refuses a key whose own count of its uses did not go on: it may be a copy.

    Keys that do not count answer 0 for ever.
    """
    now = AuthenticationResponse.from_dict(answer).response.authenticator_data.counter
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().get(pk=authenticator.pk)
        before = row.data.get(USES, row.wrap().authenticator_data.counter)
        if now == before == 0:
            return
        if now <= before:
            logger.warning("Security key %s counted back: it may have been copied", row.pk)
            raise ValidationError(KEY_COPIED)
        row.data[USES] = now
        row.save(update_fields=["data"])


class AuthenticateWebAuthnForm(
    _LimitedAnswer,
    webauthn_forms.AuthenticateWebAuthnForm,  # type: ignore[misc]
):
    """The second step of signing in, with a security key."""

    credential = _answer_field()


class ReauthenticateWebAuthnForm(
    _LimitedAnswer,
    webauthn_forms.ReauthenticateWebAuthnForm,  # type: ignore[misc]
):
    """The same, to confirm that it is still the same person."""

    credential = _answer_field()


def _readable(name: str) -> str:
    """Returns the name of a key as names are on record: administrators read it too."""
    try:
        return normalise_text(name, LONGEST_NAME)
    except Refused as refused:
        raise refusal(refused) from None


class AddWebAuthnForm(webauthn_forms.AddWebAuthnForm):  # type: ignore[misc]
    """Adds a security key."""

    credential = _answer_field()
    name = forms.CharField(
        label=_("Name of the key"),
        help_text=_("So that you can tell it from others, for example by its colour."),
        max_length=LONGEST_NAME,
        required=False,
    )

    def clean_name(self) -> str:
        return _readable(super().clean_name())

    def clean(self) -> dict[str, Any]:
        asked = _asked() or {}
        with _key_is_refused():
            if "credential" in self.cleaned_data:
                self.cleaned_data["credential"] = _answer(self.cleaned_data["credential"])
            cleaned: dict[str, Any] = super().clean()
        if "credential" in cleaned and not _use(self.user, asked["challenge"]):
            raise ValidationError(KEY_REFUSED)
        return cleaned


class EditWebAuthnForm(webauthn_forms.EditWebAuthnForm):  # type: ignore[misc]
    """Renames a security key."""

    name = forms.CharField(label=_("Name of the key"), max_length=LONGEST_NAME)

    def clean_name(self) -> str:
        return _readable(self.cleaned_data["name"])

    def save(self) -> Authenticator:
        """Changes the name alone: the key may be used, or removed, at the same moment."""
        from allauth.core import context

        key = get_object_or_404(Authenticator.objects.select_for_update(), pk=self.instance.pk)
        key.wrap().name = self.cleaned_data["name"]
        key.save(update_fields=["data"])
        audit.record(context.request, "second_factor.renamed", key.user, kind=key.type)
        return key


def _ask(state: dict[str, Any]) -> None:
    """Notes what a security key is asked, and when: the session may last for hours."""
    from allauth.core import context

    context.request.session[webauthn.STATE_SESSION_KEY] = {**state, ASKED_AT: time.time()}


def _asked() -> dict[str, Any] | None:
    """Returns what a security key was asked, if that was within ANSWER_S."""
    from allauth.core import context

    state: dict[str, Any] = context.request.session.get(webauthn.STATE_SESSION_KEY) or {}
    return state if 0 <= time.time() - state.get(ASKED_AT, 0) < ANSWER_S else None


def _server() -> Fido2Server:
    """Takes answers from the portal's own pages only; fido2 would take those of any port, and of
    any name below the portal's."""
    from allauth.core import context

    portal = PublicKeyCredentialRpEntity(**get_adapter().get_public_key_credential_rp_entity())
    own = _origin(context.request)
    return Fido2Server(portal, verify_origin=lambda origin: origin == own)


def harden() -> None:
    """Has the library take no answer of a security key from elsewhere, or that comes late."""
    webauthn.set_state, webauthn.get_state = _ask, _asked
    webauthn.get_server = _server


def _pending_secret(user: User, *, new: bool) -> str:
    """Returns the secret that is being set up in this session."""
    from allauth.core import context

    bound_to = f"session:{user.pk}:totp"
    sealed = "" if new else context.request.session.get(totp.SECRET_SESSION_KEY, "")
    with suppress(vault.VaultError):  # after a change of master keys one begins anew
        return vault.open_sealed(sealed, bound_to).decode()
    secret: str = totp.generate_totp_secret()
    context.request.session[totp.SECRET_SESSION_KEY] = vault.seal(secret.encode(), bound_to)
    return secret
