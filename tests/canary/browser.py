"""A person's browser without a screen, which remembers every answer."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from typing import Any

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass
class Answer:
    """What came back, and which secrets it may hold, because that is its purpose."""

    what: str
    status: int
    headers: bytes
    body: bytes
    may_hold: tuple[str, ...] = ()


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the caller, so that each answer is kept."""

    def redirect_request(self, *_args: Any) -> None:
        return None


class Browser:
    """Keeps cookies and finds the token that a form needs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.jar = CookieJar()
        self.answers: list[Answer] = []
        self.language = "en"
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.jar), NoRedirect
        )

    def get(
        self, path: str, *, may_hold: tuple[str, ...] = (), headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Opens a page."""
        return self._ask("GET", path, None, may_hold, headers or {})

    def post(
        self, path: str, data: Mapping[str, Any], *, page: str = "", token: bool = True,
        may_hold: tuple[str, ...] = (), headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Sends the form on `page` (the same address unless given)."""
        values: list[tuple[str, str]] = []
        if token:
            found = TOKEN.search(self.get(page or path, may_hold=may_hold).body.decode())
            found = found or TOKEN.search(self.get("/account/").body.decode())
            assert found, f"no form at {page or path}"
            values.append(("csrfmiddlewaretoken", found[1]))
        for name, value in data.items():
            values += [
                (name, str(each)) for each in (value if isinstance(value, list) else [value])
            ]
        body = urllib.parse.urlencode(values).encode()
        return self._ask("POST", path, body, may_hold, headers or {})

    def _ask(
        self, method: str, path: str, body: bytes | None, may_hold: tuple[str, ...],
        headers: Mapping[str, str],
    ) -> Answer:  # fmt: skip
        request = urllib.request.Request(  # noqa: S310
            self.url + path, body, {"Accept-Language": self.language, **headers}, method=method
        )
        try:
            with self._opener.open(request, timeout=60) as response:
                answer = self._kept(method, path, response, may_hold)
        except urllib.error.HTTPError as response:
            with response:
                answer = self._kept(method, path, response, may_hold)
        return answer

    def _kept(self, method: str, path: str, response: Any, may_hold: tuple[str, ...]) -> Answer:
        headers: HTTPMessage = response.headers
        answer = Answer(f"{method} {path}", response.status, headers.as_bytes(), response.read(),
                        may_hold)  # fmt: skip
        self.answers.append(answer)
        return answer
