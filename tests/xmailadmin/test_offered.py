"""Pages offer a person only what that person may do."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.urls import Resolver404, resolve

from tests import people
from tests.factories import files
from tests.xmailadmin.routes import Route, World, furnish, routes
from tests.xmailadmin.test_access import MAY, asked
from xmailadmin.access import ACCESS, PUBLIC, SIGNED_IN
from xmailadmin.roles import ROLES

pytestmark = pytest.mark.django_db


class Offers(HTMLParser):
    """The addresses that a page leads to, each with the method of the request."""

    def __init__(self, own: str) -> None:
        super().__init__()
        self.own, self.found = own, set[tuple[str, str]]()

    def handle_starttag(self, tag: str, raw: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in raw}
        if tag == "a" and "href" in attributes:
            self.found.add(("GET", attributes["href"]))
        if tag == "form":
            method = attributes.get("method", "get").upper()
            self.found.add((method, attributes.get("action", self.own)))
        for name in ("get", "post"):
            if f"hx-{name}" in attributes:
                self.found.add((name.upper(), attributes[f"hx-{name}"]))


def offered(html: str, own: str) -> set[tuple[str, str]]:
    """Returns (method, name of the address) of whatever a page offers inside the portal."""
    parser = Offers(own)
    parser.feed(html)
    names = set()
    for method, address in parser.found:
        path = re.sub(r"[?#].*", "", address) or own
        try:
            names.add((method, resolve(path).view_name))
        except Resolver404:
            assert not path.startswith("/") or path.startswith(("/static/", "//")), (own, path)
    return names


@pytest.fixture
def world(tmp_path: Path) -> World:
    """As rich as can be: a pair that is installed, and one that can be rolled back to."""
    world = furnish(tmp_path)
    host, pair = world.objects["host"], world.objects["pair"]
    host.pair = pair  # type: ignore[attr-defined]
    host.save()
    installation = world.objects["installation"]
    installation.status = "INSTALLED"  # type: ignore[attr-defined]
    installation.previous_pair = pair  # type: ignore[attr-defined]
    installation.save()
    assert files(pair)[0]  # type: ignore[arg-type]
    return world


@pytest.mark.parametrize("role", ROLES)
def test_no_page_offers_what_is_refused(world: World, role: str) -> None:
    client = people.signed_in(people.person(role, username=role), confirmed=True)
    wrong = set()
    for route in routes():
        if ACCESS[route.name].needs("GET") not in (PUBLIC, SIGNED_IN, *MAY[role]):
            continue
        address = world.address(Route(route.name, route.arguments))
        response = asked(client, "get", address)
        if not response.headers.get("Content-Type", "").startswith("text/html"):
            continue
        for method, name in offered(response.content.decode(), address):
            if ACCESS[name].needs(method) not in (PUBLIC, SIGNED_IN, *MAY[role]):
                wrong.add((route.name, method, name))
    assert sorted(wrong) == []
