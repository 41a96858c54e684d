"""How to set up one mail client for the hosts of this portal, step by step, to be printed.

It is here because certs knows no hosts: the certs pages of the client notes link to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from certs.client_recipes import Place, recipes
from certs.clients import Settings, covers, settings_of
from certs.models import ClientNote
from certs.models.client_note import Protocol
from hosts.models import Host

HOSTS_A_PAGE = 10

# The ports of each protocol, the best first: TLS from the first byte cannot be stripped.
PORTS = {
    Protocol.POP3: (("pop3s_port", True), ("pop3_port", False)),
    Protocol.SMTP: (("smtps_port", True), ("submission_port", False), ("smtp_port", False)),
}


@require_safe
def client_setup(request: HttpRequest, slug: str) -> HttpResponse:
    """Names, ports and security of each host, filled in for one client."""
    notes = list(ClientNote.objects.filter(client_slug=slug, historical=False).defer("results"))
    if not notes:
        raise Http404
    hosts = Host.objects.filter(disabled=False).select_related("pair")
    chosen = request.GET.get("host", "")
    if chosen.isascii() and chosen.isdecimal() and len(chosen) <= 18:
        page = Paginator(hosts.filter(pk=int(chosen)), 1).get_page(1)
    else:
        page = Paginator(hosts, HOSTS_A_PAGE).get_page(request.GET.get("page"))
    settings = {part.protocol: part for part in settings_of(notes)}
    context = {
        "slug": slug,
        "client_name": notes[0].client_name,
        "versions": list(dict.fromkeys((note.version_text, note.os) for note in notes)),
        "page": page,
        "servers": [_server(host, slug, settings) for host in page],
        "hints": _hints(settings[Protocol.POP3], settings[Protocol.SMTP]),
        "host_choices": list(hosts.values_list("pk", "name")[:200]),
        "chosen": chosen,
    }
    return render(request, "hosts/client_setup.html", context)


def _hints(*both: Settings) -> list[tuple[str, list[str]]]:
    """Returns what to change for each protocol, or once for both where it is the same."""
    hints: dict[tuple[str, ...], list[str]] = {}
    for settings in both:
        if settings.usable and settings.lines:
            hints.setdefault(tuple(settings.lines), []).append(str(settings.protocol.label))
    return [(", ".join(labels), list(lines)) for lines, labels in hints.items()]


def _server(host: Host, slug: str, settings: dict[Protocol, Settings]) -> dict[str, Any]:
    """Returns what people enter to reach one host, and what to copy."""
    name = _name(host)
    parts = []
    for protocol in (Protocol.POP3, Protocol.SMTP):
        places = list(_places(host, name, settings[protocol]))
        parts.append(
            {
                "protocol": protocol,
                "usable": settings[protocol].usable,
                "places": [{"place": place, "security": _security(place)} for place in places],
                "recipes": recipes(slug, places[0]) if places else [],
            }
        )
    return {
        "host": host,
        "key": str(host.pk),
        "name": name,
        "fits": _fits(host, name),
        "parts": parts,
    }


def _name(host: Host) -> str:
    """Returns the name to enter: the host's own if its certificate holds it, else the latter's."""
    if host.pair is None or _fits(host, host.address):
        return host.address
    return host.pair.common_name or host.address


def _fits(host: Host, name: str) -> bool:
    return host.pair is not None and covers(host.pair.names.splitlines(), name)


def _places(host: Host, name: str, settings: Settings) -> Iterable[Place]:
    """Yields the ports of the host that the client can use, the best first."""
    sha256 = host.pair.sha256 if host.pair is not None else ""
    colons = ":".join(sha256[i : i + 2].upper() for i in range(0, len(sha256), 2))
    for field, implicit in PORTS[settings.protocol]:
        port = getattr(host, field)
        works = settings.implicit if implicit else settings.starttls
        if port and works:
            yield Place(settings.protocol.value, name, port, implicit, colons)


def _security(place: Place) -> str:
    return _("SSL/TLS") if place.implicit else _("STARTTLS")
