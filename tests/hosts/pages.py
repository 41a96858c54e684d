"""What the tests of pages share: a signed-in browser without JavaScript, and what it reads."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import reverse

from hosts.models import Host


def text(response: HttpResponseBase) -> str:
    """Returns the words of a page, without markup and with single spaces."""
    assert isinstance(response, HttpResponse)
    assert response.status_code == 200
    html = re.sub(r"<(script|style|title)\b.*?</\1>", " ", response.content.decode(), flags=re.S)
    html = re.sub(r'<span class="nowrap">([\d-]+)</span>', r"\1", html)  # a date in a sentence
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def opened(client: Client, host: Host) -> dict[str, Any]:
    """Opens the form of a host; returns what it keeps of what was shown, to be sent along."""
    page = client.get(reverse("host_edit", args=[host.pk]))
    found = re.search(r'name="shown" value="(\w+)"', page.content.decode())
    assert found
    return {"shown": found[1]}


def edit(client: Client, host: Host, sent: dict[str, Any], **options: Any) -> Any:
    """Opens the form of a host and sends it at once."""
    address = reverse("host_edit", args=[host.pk])
    return client.post(address, sent | opened(client, host), **options)
