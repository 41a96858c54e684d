"""Loading the client notes that come with the product: certs/data/client_notes/*.json.

docs/adding-a-client-note.md describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from certs.models import ClientNote
from certs.models.client_note import Source

__all__ = ["Loaded", "load_notes", "read_notes", "shipped_files", "unload_notes"]


@dataclass(frozen=True)
class Loaded:
    """What loading a file did: rows by number."""

    created: int
    updated: int
    unchanged: int
    kept: int  # edited by the team and therefore left alone


def shipped_files() -> list[Path]:
    """Returns the files of notes that come with the product."""
    return sorted((Path(__file__).parent / "data" / "client_notes").glob("*.json"))


def read_notes(path: Path) -> list[dict[str, Any]]:
    """Returns the notes of a file as field values."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return [_fields(note, data) for note in data["notes"]]


def load_notes(path: Path, model: type[ClientNote] = ClientNote) -> Loaded:
    """Adds the file's notes and corrects those loaded before; what the team edited stays.

    A migration passes its own `model`.
    """
    wanted = {fields["key"]: fields for fields in read_notes(path)}
    with transaction.atomic():
        present = {note.key: note for note in model.objects.filter(key__in=wanted)}
        new = [
            model(**fields, **_shown(fields, model))
            for key, fields in wanted.items()
            if key not in present
        ]
        model.objects.bulk_create(new, ignore_conflicts=True)
        updated = kept = 0
        for key, note in present.items():
            fields = wanted[key]
            if note.edited_at is not None:
                kept += 1
            elif any(getattr(note, name) != value for name, value in fields.items()):
                updated += model.objects.filter(key=key, edited_at=None).update(
                    **fields, updated_at=timezone.now()
                )
    return Loaded(len(new), updated, len(present) - updated - kept, kept)


def unload_notes(path: Path, model: type[ClientNote] = ClientNote) -> None:
    """Takes the file's notes back out; what the team edited stays."""
    keys = [fields["key"] for fields in read_notes(path)]
    model.objects.filter(key__in=keys, edited_at=None).delete()


def _shown(fields: Mapping[str, Any], model: type[ClientNote]) -> dict[str, bool]:
    """Lets mail users read what was measured; an early migration's model does not know them."""
    known = any(field.name == "for_mail_users" for field in model._meta.get_fields())
    return {"for_mail_users": fields["source"] == Source.MEASURED} if known else {}


def _fields(note: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Expands the file's shorthand: defaults, and texts that many notes share."""
    fields = {
        "client_ja": "",
        "version": "",
        "version_ja": "",
        "position": 0,
        "results": [],
        "measured_on": None,
        **data["defaults"],
        **{name: value for name, value in note.items() if name != "method"},
    }
    for name, texts in (("remark", data["remarks"]), ("setting", data["settings"])):
        keys = fields.pop(name, [])
        for language, joint in (("en", " "), ("ja", "")):
            separator = "\n" if name == "setting" else joint
            fields[f"{name}_{language}"] = separator.join(texts[key][language] for key in keys)
    package = data.get("packages", {}).get(note["client_slug"])
    details = [fields["source_detail"], package, note.get("method")]
    fields["source_detail"] = "; ".join(detail for detail in details if detail)
    if fields["measured_on"]:
        fields["measured_on"] = date.fromisoformat(fields["measured_on"])
    return fields
