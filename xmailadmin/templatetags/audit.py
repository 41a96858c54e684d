"""Shows what the audit knows about an object."""

from __future__ import annotations

from typing import Any

from django import template
from django.db import models

from xmailadmin import audit
from xmailadmin.audit_words import detail_of, person, word
from xmailadmin.models import AuditEntry

register = template.Library()

SHOWN = 8  # entries on an object's page


@register.inclusion_tag("audit/history.html", takes_context=True)
def audit_history(context: dict[str, Any], obj: models.Model) -> dict[str, Any]:
    """Draws the last entries about `obj` as a panel: who did what, and when."""
    try:
        rows, readable = list(audit.history_of(obj)[: SHOWN + 1]), True
    except audit.UNREADABLE:
        rows, readable = [], False
    return {
        "readable": readable,
        "rows": rows[:SHOWN],
        "more": len(rows) > SHOWN,
        "object": obj,
        "type": obj._meta.model_name,
        "perms": context.get("perms"),
    }


@register.filter
def action_words(entry: AuditEntry) -> str:
    """Returns what was done, in words."""
    return word(entry.action)


@register.filter
def person_name(name: str, account: int | None) -> str:
    """Returns who did something, in words where it was not a person (who has an account)."""
    return person(name, account)


@register.filter
def details(entry: AuditEntry) -> list[tuple[str, str]]:
    """Returns what else the entry says."""
    if not isinstance(entry.detail, dict):  # not as it was written
        return []
    return detail_of(entry.detail, entry.object_type)


@register.filter
def as_written(entry: AuditEntry) -> bool:
    """True if the entry is as it was written."""
    return audit.fits(entry)
