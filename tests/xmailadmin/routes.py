"""Every address of the portal, as the URL resolver knows it, with what it needs to be opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allauth.mfa.models import Authenticator
from django.db import models
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from certs.models import ClientNote, ClientReport
from hosts import deploy
from hosts.models import Deployment, Host, Installation, ReaderPage
from tests.factories import issued_pair, local_host
from tests.people import person

MISSING = 99_999_999


@dataclass(frozen=True)
class Route:
    """One address: its name and the names of its arguments."""

    name: str
    arguments: tuple[str, ...]


def routes() -> list[Route]:
    """Returns all of them."""
    return sorted(_walk(get_resolver(), ()), key=lambda route: route.name)


def _walk(resolver: URLResolver, above: tuple[str, ...]) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        arguments = (*above, *entry.pattern.converters)
        if isinstance(entry, URLPattern):
            assert entry.name, f"{entry.pattern} has no name"
            yield Route(entry.name, arguments)
        else:
            yield from _walk(entry, arguments)


@dataclass(frozen=True)
class World:
    """One object of every kind that an address names."""

    objects: dict[str, models.Model]

    def address(self, route: Route, *, missing: bool = False) -> str:
        """Returns the address of an object that is there, or of one that is not."""
        return reverse(route.name, kwargs={name: self._value(route, name, missing)
                                           for name in route.arguments})  # fmt: skip

    def _value(self, route: Route, argument: str, missing: bool) -> Any:
        if argument == "pk":
            kind = route.name.removeprefix("client_").split("_")[0]
            return MISSING if missing else self.objects[kind].pk
        if argument == "slug":
            return "no-such-client" if missing else "thunderbird"
        return "no-such-thing"


def furnish(directory: Path) -> World:
    """Makes one object of every kind."""
    pair = issued_pair()
    host: Host = local_host(directory)
    deployment: Deployment = deploy.create_deployment(pair, [host], by=None)
    installation = Installation.objects.get(deployment=deployment)
    report = ClientReport.objects.create(client="Thunderbird", os="Windows", worked=True)
    other = person("viewer", username="other")
    reader = ReaderPage(host=host, server_name="mail.dojo.jp", mail_domain="dojo.jp")
    reader.save()
    key = Authenticator(user=other, type="webauthn", data={"name": "blue", "credential": {}})
    key.save()
    return World(
        {
            "host": host,
            "pair": pair,
            "deployment": deployment,
            "installation": installation,
            "note": ClientNote.objects.all()[0],
            "report": report,
            "reader": reader,
            "person": other,
            "mfa": key,
        }
    )
