"""Changes notes so that every change is kept: who, when, what was before and what is now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from certs.models import ClientNote, NoteChange
from certs.models.client_note import CertificateKind, Mark, Protocol, Security, Source, Verify
from xmailadmin import audit
from xmailadmin.models import User

__all__ = [
    "Difference",
    "confirm",
    "differences",
    "fields_of",
    "keep",
    "one_line_end",
    "own_key",
    "remove",
]

OWN = "own-"  # begins the keys of notes that did not come with the product
Action = NoteChange.Action
Who = HttpRequest | User | None

# What a change keeps, in the order in which the page of changes tells it.
LABELS = {
    "client": _("Mail client"),
    "client_ja": _("Mail client (Japanese)"),
    "version": _("Version"),
    "version_ja": _("Version (Japanese)"),
    "os": _("Operating system"),
    "protocol": _("Protocol"),
    "security": _("Port and security"),
    "certificate_kind": _("Certificate"),
    "mark": _("Mark"),
    "remark_en": _("Remark (English)"),
    "remark_ja": _("Remark (Japanese)"),
    "setting_en": _("What to set (English)"),
    "setting_ja": _("What to set (Japanese)"),
    "source": _("Source"),
    "source_detail": _("More about the source"),
    "measured_on": _("Measured or reported on"),
    "confirmed_on": _("Last confirmed on"),
    "historical": _("Kept for history only"),
    "for_mail_users": _("May be shown to mail users"),
    "results": _("Measurements"),
}

CHOICES = {
    "protocol": Protocol,
    "security": Security,
    "certificate_kind": CertificateKind,
    "mark": Mark,
    "source": Source,
}


def fields_of(note: ClientNote) -> dict[str, Any]:
    """Returns everything that a person may change in a note, as JSON can hold it."""
    return {name: _plain(getattr(note, name)) for name in LABELS}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return one_line_end(value)
    return value.isoformat() if isinstance(value, date) else value


def one_line_end(text: str) -> str:
    """Returns the text with the same end at each line; browsers send others."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def own_key(note: ClientNote) -> str:
    """Returns a new key for a note that does not come with the product."""
    words = slugify(f"{note.os} {note.client_slug} {note.version} {note.protocol}")[:80].strip("-")
    return f"{OWN}{words}-{get_random_string(8, '0123456789abcdef')}"


def is_own(note: ClientNote) -> bool:
    """True if the note was made here, so that no new release brings it back."""
    return note.key.startswith(OWN)


@transaction.atomic
def keep(
    note: ClientNote, *, by: Who, before: Mapping[str, Any] | None, action: str = ""
) -> NoteChange | None:
    """Saves a note that was added (`before` is None) or changed; None if nothing differs."""
    after = fields_of(note)
    if before is None:
        action = action or Action.ADDED
    elif differing := {name for name in LABELS if before.get(name) != after[name]}:
        action = action or Action.CORRECTED
        if differing != {"confirmed_on"}:
            note.edited_at = timezone.now()  # shipped data leaves it alone from now on
    else:
        return None
    note.save()
    return _record(note, action, by, before, after)


@transaction.atomic
def confirm(note: ClientNote, *, by: Who) -> NoteChange | None:
    """Keeps that somebody saw today that the note, whose row is locked, still holds."""
    before = fields_of(note)
    note.confirmed_on = timezone.localdate()
    return keep(note, by=by, before=before, action=Action.CONFIRMED)


@transaction.atomic
def remove(note: ClientNote, *, by: Who) -> None:
    """Deletes a note that was made here, whose row is locked; its changes stay.

    Raises ValueError for any other.
    """
    if not is_own(note):
        raise ValueError(f"{note.key} came with the product")
    _record(note, Action.REMOVED, by, fields_of(note), None)
    note.delete()


def _record(
    note: ClientNote,
    action: str,
    by: Who,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> NoteChange:
    entry = audit.record(by, f"note.{action}", note)
    return NoteChange.objects.create(
        note=note,
        note_key=note.key,
        client_slug=note.client_slug,
        note_name=str(note),
        action=action,
        by=entry.actor,
        by_name=entry.actor_name,
        before=before,
        after=after,
    )


@dataclass(frozen=True)
class Difference:
    """One field of a change, worded."""

    label: str
    before: str
    after: str


def differences(change: NoteChange) -> Iterator[Difference]:
    """Yields what a change changed, field by field; an added note has no fields before it."""
    before, after = change.before or {}, change.after or {}
    for name, label in LABELS.items():
        old, new = before.get(name), after.get(name)
        if old != new and (old or new):
            yield Difference(str(label), _shown(name, old), _shown(name, new))


def _shown(name: str, value: Any) -> str:
    if name == "results":
        return "\n".join(_run_shown(run) for run in value or [])
    if isinstance(value, bool):
        return str(_("Yes") if value else _("No"))
    words = CHOICES[name](value).label if name in CHOICES and value else value
    return "" if words is None else str(words)


def _run_shown(run: Mapping[str, str]) -> str:
    parts = [
        Verify(run["verify"]).label,
        _("Worked") if run["result"] == "ok" else _("Failed"),
        *(run.get(name) for name in ("message", "setting", "variant")),
    ]
    return " · ".join(str(part) for part in parts if part)
