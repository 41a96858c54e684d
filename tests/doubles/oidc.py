"""A small OpenID Connect provider on a real socket: discovery, authorization code with PKCE,
signed ID tokens, user info. Whoever is `person` signs in without being asked."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "xmailadmin", "a-client-secret"
KEY_ID = "test"


@dataclass
class Provider:
    """Runs while its block runs; `person` holds the claims of who is signed in there."""

    person: dict[str, Any] = field(default_factory=lambda: claims("1", "taro@example.jp"))
    #: What was asked, for assertions: paths of every request.
    asked: list[str] = field(default_factory=list)
    #: "" or how it misbehaves: refuse, no_token, broken.
    fault: str = ""
    #: What is answered instead to a path, as it is.
    raw: dict[str, bytes] = field(default_factory=dict)
    #: What the user info says instead of what the ID token says.
    userinfo: Any = None
    #: Claims of the ID token that are otherwise.
    id_token: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.codes: dict[str, dict[str, str]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (_Handler,), {"p": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Provider:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def authorize(self, query: dict[str, str]) -> str:
        """Returns where the browser is sent after the person has signed in."""
        back = {"state": query["state"]}
        if self.fault == "refuse":
            return f"{query['redirect_uri']}?{urlencode({**back, 'error': 'access_denied'})}"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({**back, 'code': code})}"

    def token(self, form: dict[str, str]) -> dict[str, Any] | None:
        """Returns the tokens for a code, None for a wrong code, client or verifier."""
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or self.fault == "no_token":
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        client = (form.get("client_id"), form.get("client_secret"))
        if challenge != asked.get("code_challenge") or client != (CLIENT_ID, CLIENT_SECRET):
            return None
        now = int(time.time())
        standard = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        payload = {**self.person, **standard, **self.id_token}
        id_token = jwt.encode(payload, self.key, algorithm="RS256", headers={"kid": KEY_ID})
        return {"access_token": "an-access-token", "token_type": "Bearer", "id_token": id_token}


def claims(sub: str, email: str, *, verified: bool = True) -> dict[str, Any]:
    """What the provider says about a person."""
    return {"sub": sub, "email": email, "email_verified": verified, "preferred_username": email}


class _Handler(BaseHTTPRequestHandler):
    p: Provider

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.p.asked.append(url.path)
        if url.path in self.p.raw:
            self._send(self.p.raw[url.path])
        elif url.path == "/.well-known/openid-configuration":
            self._json(
                {
                    "issuer": self.p.url,
                    "authorization_endpoint": f"{self.p.url}/authorize",
                    "token_endpoint": f"{self.p.url}/token",
                    "userinfo_endpoint": f"{self.p.url}/userinfo",
                    "jwks_uri": f"{self.p.url}/jwks",
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                    "code_challenge_methods_supported": ["S256"],
                }
            )
        elif url.path == "/authorize":
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            self.send_response(302)
            self.send_header("Location", self.p.authorize(query))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif url.path == "/userinfo" and self.headers["Authorization"] == "Bearer an-access-token":
            self._json(self.p.person if self.p.userinfo is None else self.p.userinfo)
        elif url.path == "/jwks":
            jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.p.key.public_key()))
            self._json({"keys": [{**jwk, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]})
        else:
            self._json({"error": "not found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.p.asked.append(self.path)
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if self.path in self.p.raw:
            self._send(self.p.raw[self.path])
            return
        tokens = self.p.token(form) if self.path == "/token" else None
        if self.p.fault == "broken":
            self._json({"error": "server_error"}, 500)
        else:
            self._json(tokens or {"error": "invalid_grant"}, 200 if tokens else 400)

    def _json(self, answer: dict[str, Any], status: int = 200) -> None:
        self._send(json.dumps(answer).encode(), status)

    def _send(self, data: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
