"""What the set-up guide shows of the client notes."""

from __future__ import annotations

from typing import Any

from django import template

from certs.clients import DEFAULT_KIND, notes_of_kinds, settings_of
from certs.models import ClientNote

register = template.Library()


@register.simple_tag
def settings_by_client() -> list[dict[str, Any]]:
    """Returns what to set in each current client for the certificate made by default."""
    clients: dict[str, list[ClientNote]] = {}
    for note in notes_of_kinds([DEFAULT_KIND]).filter(historical=False).defer("results"):
        clients.setdefault(note.client_slug, []).append(note)
    return [
        {
            "slug": slug,
            "name": notes[0].client_name,
            "version": notes[0].version_text,
            "marks": _marks(notes),
            "lines": list(dict.fromkeys(line for s in settings_of(notes) for line in s.lines)),
        }
        for slug, notes in clients.items()
    ]


def _marks(notes: list[ClientNote]) -> list[dict[str, Any]]:
    """The marks of each protocol, without remarks."""
    return [
        {"protocol": settings.protocol.value, "entries": settings.entries}
        for settings in settings_of(notes)
    ]
