"""Copies of the client notes, and of the judgement made from them, kept with history."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from certs.clients import notes_for
from certs.judgement import Judgement, judge
from certs.models import ClientNote, NoteSnapshot

if TYPE_CHECKING:
    from certs.facts import CertificateFacts

__all__ = ["judgement_in", "notes_in", "snapshot_for"]

# What a snapshot keeps: all that a reader of the note is told. The single runs stay with the note.
SNAPSHOT_FIELDS = (
    "key",
    "client",
    "client_ja",
    "client_slug",
    "version",
    "version_ja",
    "os",
    "protocol",
    "security",
    "certificate_kind",
    "mark",
    "remark_en",
    "remark_ja",
    "setting_en",
    "setting_ja",
    "source",
    "source_detail",
    "measured_on",
    "historical",
    "for_mail_users",
    "position",
)


def snapshot_for(
    facts: CertificateFacts | None,
    *,
    host_names: Iterable[str] = (),
    now: datetime | None = None,
) -> NoteSnapshot:
    """Returns the copy of the notes that apply to the certificate now; equal copies are one row.

    Without facts (nothing readable is installed) the copy is empty.
    """
    content: dict[str, Any] = {"kinds": [], "notes": []}
    if facts is not None:
        judgement = judge(facts, host_names=host_names, now=now)
        content["kinds"] = list(judgement.kinds)
        content["judgement"] = judgement.to_json()
        notes = notes_for(facts, host_names=host_names, now=now).values(*SNAPSHOT_FIELDS)
        content["notes"] = [_plain(note) for note in notes]
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    snapshot, _ = NoteSnapshot.objects.get_or_create(
        sha256=hashlib.sha256(text.encode()).hexdigest(), defaults={"content": content}
    )
    return snapshot


def notes_in(snapshot: NoteSnapshot) -> list[ClientNote]:
    """Returns the notes of a snapshot as they were, as rows that are not in the database."""
    fields = set(SNAPSHOT_FIELDS)
    return [
        ClientNote(**{name: value for name, value in note.items() if name in fields})
        for note in snapshot.content["notes"]
    ]


def judgement_in(snapshot: NoteSnapshot) -> Judgement | None:
    """Returns the judgement as it was; None if none was kept with the snapshot."""
    kept = snapshot.content.get("judgement")
    return None if kept is None else Judgement.from_json(kept)


def _plain(note: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in note.items()
    }
