"""What the team's OpenID Connect provider answers, looked at before anything is made of it.

Whatever it answers, and however it fails, comes out as a ProviderException or as the few texts
that the portal uses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.base import ProviderException
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.core.cache import caches
from django.http import HttpRequest
from requests import RequestException
from requests.adapters import HTTPAdapter

__all__ = ["Answers", "Bounded"]

CONFIGURATION_S = 300  # how long it is not asked for again, however many begin to sign in
MOST, ANSWER_S = 1024 * 1024, 20.0  # bytes of an answer, and how long it may take
NEEDED = (
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
)
METHODS = "token_endpoint_auth_methods_supported"
LONGEST_SUB: int = SocialAccount._meta.get_field("uid").max_length
LONGEST = {"email": 254, "name": 200, "preferred_username": 200}
# What reading rubbish raises; RecursionError is a RuntimeError.
FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OAuth2Error,
    RequestException,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def _asking_for(what: str) -> Iterator[None]:
    """Says what could not be had, and by which kind of error; never what the provider answered."""
    try:
        yield
    except FAILURES as error:
        kind = type(error.__cause__ or error).__name__
        raise ProviderException(f"no {what} from the provider ({kind})") from error


class Bounded(HTTPAdapter):
    """Reads no more of an answer than MOST, and for no longer than ANSWER_S."""

    def send(self, request: Any, stream: bool = False, **options: Any) -> Any:  # type: ignore[override]
        response = super().send(request, stream=True, **options)
        until, content = time.monotonic() + ANSWER_S, b""
        for piece in response.iter_content(16 * 1024):
            content += piece
            if len(content) > MOST or time.monotonic() > until:
                response.close()
                raise RequestException("the answer does not end")
        response._content = content
        return response


class Answers(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """Asks the provider."""

    @property
    def openid_config(self) -> dict[str, Any]:
        key = f"oidc:{self.get_provider().server_url}"
        kept: dict[str, Any] | None = caches["addresses"].get(key)
        if kept is None:
            with _asking_for("configuration"):
                kept = _configuration(super().openid_config)
            caches["addresses"].set(key, kept, CONFIGURATION_S)
        return kept

    def get_access_token_data(
        self, request: HttpRequest, app: SocialApp, client: Any, pkce_code_verifier: Any = None
    ) -> dict[str, str]:
        with _asking_for("token"):
            data = super().get_access_token_data(request, app, client, pkce_code_verifier)
            return {name: _text(data[name]) for name in ("access_token", "id_token")}

    def parse_token(self, data: dict[str, str]) -> SocialToken:
        return SocialToken(token=data["access_token"])  # not kept: when it ends does not matter

    def complete_login(
        self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any
    ) -> SocialLogin:
        with _asking_for("identity"):
            id_token = self._decode_id_token(app, kwargs["response"]["id_token"])
            said = _identity(id_token, self._fetch_user_info(token.token))
        login = self.get_provider().sociallogin_from_response(request, said)
        if _is_of_another_issuer(login.account):
            raise ProviderException("the issuer is not the one whose login was connected")
        return login


def _text(value: Any, longest: int = 100_000) -> str:
    if not (isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()):
        raise ValueError("no text")
    return value


def _configuration(answer: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: _text(answer[name], 2000) for name in NEEDED}
    if not all(kept[name].startswith(("https://", "http://")) for name in NEEDED[1:]):
        raise ValueError("no address")
    methods = answer.get(METHODS)
    return {**kept, METHODS: methods if isinstance(methods, list) else []}


def _identity(id_token: dict[str, Any], userinfo: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns what the portal keeps of who somebody is.

    The user info must be of the person of the ID token (OpenID Connect Core, 5.3.2), and an
    address counts as verified only if that is `true`, not some other thing such as "false".
    """
    sub = _text(userinfo["sub"], LONGEST_SUB)
    if id_token["sub"] != sub:
        raise ValueError("sub")
    known: dict[str, Any] = {"sub": sub, "email_verified": userinfo.get("email_verified") is True}
    for name, longest in LONGEST.items():
        value = userinfo.get(name)
        if name != "email" and isinstance(value, str):
            value = " ".join(value.split())  # Japanese names have a blank of their own
        try:
            known[name] = _text(value, longest)
        except ValueError:
            continue
    return {"userinfo": known, "id_token": {"iss": id_token["iss"], "sub": sub}}


def _is_of_another_issuer(account: SocialAccount) -> bool:
    """True if who is connected came from another provider, whose numbers mean other people."""
    before = SocialAccount.objects.filter(provider=account.provider, uid=account.uid).first()
    issuer = before.extra_data.get("id_token", {}).get("iss") if before is not None else None
    return issuer is not None and bool(issuer != account.extra_data["id_token"]["iss"])
