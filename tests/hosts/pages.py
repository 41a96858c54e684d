"""What the tests of pages share: a signed-in browser without JavaScript, and what it reads."""

from __future__ import annotations

import re
from html import unescape

from django.http import HttpResponse
from django.http.response import HttpResponseBase


def text(response: HttpResponseBase) -> str:
    """Returns the words of a page, without markup and with single spaces."""
    assert isinstance(response, HttpResponse)
    assert response.status_code == 200
    html = re.sub(r"<(script|style|title)\b.*?</\1>", " ", response.content.decode(), flags=re.S)
    html = re.sub(r'<span class="nowrap">([\d-]+)</span>', r"\1", html)  # a date in a sentence
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
