"""A person at a browser without JavaScript: follows links, fills in forms, keeps cookies."""

from __future__ import annotations

import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from http.cookiejar import CookieJar

from tests.portal import Portal

TIMEOUT_S = 30


@dataclass(frozen=True)
class Page:
    """What came back, from where after redirects, and how long it took."""

    status: int
    url: str
    text: str
    took_s: float

    def form(self) -> dict[str, list[str]]:
        """What the forms of the page would send if nobody touched them."""
        fields = _Fields()
        fields.feed(self.text)
        return fields.values


class Visitor:
    """Signed in at `portal` once `sign_in` was called."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar()),
            urllib.request.ProxyHandler({}),
        )

    def sign_in(self) -> None:
        page = self.post(
            "/account/login/", login=self._portal.username, password=self._portal.password
        )
        assert page.status == 200, page.text
        assert "/account/login/" not in page.url, page.text

    def get(self, path: str) -> Page:
        return self._open(urllib.request.Request(self._portal.url + path))  # noqa: S310

    def post(self, path: str, form: str = "", **fields: str | list[str]) -> Page:
        """Fills in the form at `form` (default: `path`) and sends it to `path`."""
        values: dict[str, str | list[str]] = dict(self.get(form or path).form())
        body = urllib.parse.urlencode({**values, **fields}, doseq=True).encode()
        return self._open(urllib.request.Request(self._portal.url + path, body))  # noqa: S310

    def _open(self, request: urllib.request.Request) -> Page:
        request.add_header("Accept-Language", "en")
        request.add_header("Referer", self._portal.url)
        began = time.monotonic()
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                text = answer.read().decode()
                return Page(answer.status, answer.url, text, time.monotonic() - began)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
                return Page(error.code, error.url, text, time.monotonic() - began)


class _Fields(HTMLParser):
    """Collects the fields of every form: hidden and text inputs, ticked boxes, selections."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._select = ""
        self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        name = have.get("name") or ""
        value = have.get("value") or ""
        if tag == "input" and name:
            kind = have.get("type") or "text"
            if kind in ("checkbox", "radio") and "checked" not in have:
                return
            if kind != "submit":
                self.values.setdefault(name, []).append(value)
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in have:
            self.values[self._select] = [value]
        elif tag == "textarea" and name:
            self._area = name
            self.values[name] = [""]

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.values[self._area][0] += data.removeprefix("\n")
