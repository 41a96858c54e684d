"""Makes measured client notes of runs, and keeps what that changes."""

from __future__ import annotations

import platform
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from certs import note_changes
from certs.lab.job import Tool
from certs.lab.runs import Run, version_of
from certs.models import ClientNote, NoteChange
from certs.models.client_note import Mark, Source, Verify
from certs.note_forms import position_of

__all__ = ["Written", "os_name", "write_notes"]

Outcomes = dict[tuple[str, str], str]


@dataclass
class Written:
    """What writing notes did: notes by number."""

    added: int = 0
    confirmed: int = 0
    corrected: int = 0
    kept: int = 0  # differ, but a person has edited them


def os_name() -> str:
    """Returns what the notes call this operating system, such as `Debian 12`."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return f"{platform.system()} {platform.release()}"[:60]
    return f"{release.get('ID', '').capitalize()} {release.get('VERSION_ID', '')}".strip()[:60]


@transaction.atomic
def write_notes(kind: str, runs: Iterable[Run], tools: Mapping[str, Tool]) -> Written:
    """Adds a note for what was not known, confirms what is as it was, corrects the rest."""
    done = Written()
    by_note = sorted(runs, key=lambda run: (run.slug, run.protocol, run.security))
    for (slug, protocol, security), group in groupby(by_note, key=lambda run: run.place[:3]):
        results = [_result(run) for run in group]
        note = ClientNote(
            client=tools[slug].name,
            client_slug=slug,
            version=version_of(tools[slug]),
            os=os_name(),
            protocol=protocol,
            security=security,
            certificate_kind=kind,
            source=Source.MEASURED,
            source_detail=f"client_lab, {os_name()}, {ssl.OPENSSL_VERSION}"[:200],
            measured_on=timezone.localdate(),
            results=results,
            mark=_mark(results),
        )
        _write(note, done)
    return done


def _result(run: Run) -> dict[str, str]:
    told = {
        "verify": run.way.verify,
        "result": "ok" if run.ok else "fail",
        "message": run.message,
        "setting": run.way.setting,
        "variant": run.way.variant,
    }
    return {name: value for name, value in told.items() if value}


def _mark(results: Iterable[Mapping[str, str]]) -> Mark:
    worked = {result["verify"] for result in results if result["result"] == "ok"}
    if Verify.DEFAULT in worked:
        return Mark.GOOD
    return Mark.PARTIAL if worked else Mark.NONE


def _outcomes(results: Iterable[Mapping[str, Any]]) -> Outcomes:
    return {(each["verify"], each.get("variant", "")): each["result"] for each in results}


def _write(new: ClientNote, done: Written) -> None:
    same_kind = ClientNote.objects.filter(
        client_slug=new.client_slug,
        protocol=new.protocol,
        security=new.security,
        certificate_kind=new.certificate_kind,
        historical=False,
    )
    note = same_kind.filter(version=new.version, os=new.os).first()
    if note is None:
        _add(new, same_kind.order_by("-pk"))
        done.added += 1
        return
    before = note_changes.fields_of(note)
    then, today = _outcomes(note.results), _outcomes(new.results)
    if all(then.get(way) == result for way, result in today.items()):
        note.confirmed_on = timezone.localdate()
        note_changes.keep(note, by=None, before=before, action=NoteChange.Action.MEASURED)
        done.confirmed += 1
    elif note.edited_at is not None:
        done.kept += 1
    else:
        others = [each for each in note.results if _way(each) not in today]
        note.results = [*new.results, *others]
        note.mark = _mark(note.results)
        note.measured_on = note.confirmed_on = timezone.localdate()
        note_changes.keep(note, by=None, before=before, action=NoteChange.Action.MEASURED)
        done.corrected += 1


def _way(result: Mapping[str, Any]) -> tuple[str, str]:
    return (result["verify"], result.get("variant", ""))


def _add(note: ClientNote, others: Iterable[ClientNote]) -> None:
    """Adds the note with the words of another version that did the same, else with plain ones."""
    today = _outcomes(note.results)
    for other in others:
        then = _outcomes(other.results)
        if other.mark == note.mark and all(then.get(way) == r for way, r in today.items()):
            for name in ("client", "client_ja", "position"):
                setattr(note, name, getattr(other, name))
            for name in ("remark_en", "remark_ja", "setting_en", "setting_ja", "for_mail_users"):
                setattr(note, name, getattr(other, name))
            break
    else:
        note.position = position_of(note)
        _plain_words(note)
        note.for_mail_users = True  # nobody wrote anything into it
    note.key = note_changes.own_key(note)
    note_changes.keep(note, by=None, before=None)


def _plain_words(note: ClientNote) -> None:
    worked = [each for each in note.results if each["result"] == "ok"]
    settings = list(dict.fromkeys(each["setting"] for each in worked if each.get("setting")))
    note.setting_en = note.setting_ja = "\n".join(settings)
    for language in ("en", "ja"):
        with translation.override(language):
            setattr(note, f"remark_{language}", _remark(note.mark, {w["verify"] for w in worked}))


def _remark(mark: str, worked: set[str]) -> str:
    if mark == Mark.GOOD:
        return _("It works as installed.")
    if mark == Mark.NONE:
        return _("It does not work, whatever is set.")
    if worked >= {Verify.TRUSTED, Verify.OFF}:
        return _("It works when the certificate is trusted or verification is switched off.")
    if Verify.TRUSTED in worked:
        return _("It works when the certificate is trusted.")
    return _("It works only with verification switched off.")
