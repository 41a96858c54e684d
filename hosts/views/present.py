"""Turns what rows hold as codes and JSON into words, tones and shapes for the pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from hosts.messages import Message
from hosts.models import Host, Installation
from hosts.wording import word

LEVELS = ("error", "warning", "info", "ok")  # the gravest first

STEP_WORDS = {
    "CONNECT": _("Connect"),
    "ADOPT": _("Keep the previous pair"),
    "STAGE": _("Place the new files"),
    "SWITCH": _("Switch to the new files"),
    "READ_BACK": _("Read back"),
    "VERIFY": _("Try every service"),
    "RESTORE": _("Put the previous pair back"),
    "RECORD": _("Record"),
}

ENDPOINT_WORDS = {
    "smtp": "SMTP + STARTTLS",
    "submission": "Submission + STARTTLS",
    "smtps": "SMTPS",
    "pop3": "POP3 + STLS",
    "pop3s": "POP3S",
    "ctrls": "CTRLS",
}

STATUS_TONES = {
    "INSTALLED": ("ok", "ok"),
    "UNCHANGED": ("ok", "unchanged"),
    "PLACED": ("ok", "placed"),
    "REMOVED": ("ok", "removed"),
    "ROLLED_BACK": ("warning", "rolled-back"),
    "FAILED": ("error", "error"),
    "ERRORED": ("error", "errored"),
    "CANCELLED": ("idle", "cancelled"),
}


def say(raw: Mapping[str, Any] | Message | None) -> str:
    """Returns a stored message as a sentence in the reader's language, "" for none."""
    if not raw:
        return ""
    return word(raw if isinstance(raw, Message) else Message.from_json(raw))


def is_live(request: HttpRequest) -> bool:
    """True if htmx asks for a part of a page, not a person for the page."""
    return request.headers.get("HX-Request") == "true"


@dataclass(frozen=True)
class Step:
    """One entry of a time line (components/steps.html)."""

    word: str
    at: datetime | None
    text: str = ""
    tone: str = "ok"
    icon: str = "ok"


def steps(row: Installation) -> list[Step]:
    """Returns what happened on the host, each with its moment; the outcome comes last."""
    last = len(row.steps) - 1
    found = []
    for at, raw in enumerate(row.steps):
        current = at == last and not row.finished
        restoring = raw["step"] == "RESTORE"
        tone, icon = ("busy", "running") if current else ("ok", "ok")
        if restoring and not current:
            tone, icon = "warning", "rolled-back"
        found.append(
            Step(
                word=step_word(raw["step"]),
                at=parse_datetime(raw["at"]),
                text=say(raw.get("message")),
                tone=tone,
                icon=icon,
            )
        )
    if row.finished:
        tone, icon = STATUS_TONES.get(row.status, ("idle", "unknown"))
        found.append(
            Step(str(row.get_status_display()), row.finished_at, say(row.message), tone, icon)
        )
    return found


def step_word(step: str) -> str:
    """Returns the word for one step of an installation."""
    return str(STEP_WORDS.get(step, step))


@dataclass(frozen=True)
class Finding:
    """One finding in words (components/finding.html)."""

    code: str
    level: str
    message: str
    remedy: str = ""
    host: Host | None = None
    actions: tuple[Any, ...] = ()  # hosts.views.remedies.Action


def findings(raw: Iterable[Mapping[str, Any]], host: Host | None = None) -> list[Finding]:
    """Returns stored findings in words, in their own order."""
    return [
        Finding(
            code=str(item["code"]),
            level=str(item["level"]),
            message=say(item.get("message")),
            remedy=say(item.get("remedy")),
            host=host,
        )
        for item in raw
    ]


def gravest_first(found: Iterable[Finding]) -> list[Finding]:
    """Returns the findings by their level, those of one level in their own order."""
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


@dataclass(frozen=True)
class Row:
    """Where a certificate was met and what that says (components/endpoint_row.html)."""

    word: str
    verdict: str
    tone: str
    icon: str
    sha256: str = ""
    message: str = ""
    tls: str = ""
    port: int = 0
    same: bool = False  # as one that is shown in full already


def endpoints(raw: Iterable[Mapping[str, Any]], expected: str = "") -> list[Row]:
    """Returns stored endpoint results in words; `expected` is the fingerprint they should serve."""
    return [_endpoint(item, expected) for item in raw]


def _endpoint(item: Mapping[str, Any], expected: str) -> Row:
    sha256 = str(item.get("sha256") or "")
    name = str(item["name"])
    if not item.get("ok"):
        switched_off = item["message"]["code"] in ("probe.off", "probe.not_tried")
        tone, icon, verdict = (
            ("idle", "disabled", _("Not tried"))
            if switched_off
            else ("warning", "warning", _("No TLS"))
        )
    elif expected and sha256 != expected:
        tone, icon, verdict = "error", "error", _("Another certificate")
    else:
        tone, icon, verdict = "ok", "ok", _("Served") if not expected else _("The same")
    return Row(
        word=ENDPOINT_WORDS.get(name, name),
        port=int(item["port"]),
        verdict=str(verdict),
        tone=tone,
        icon=icon,
        sha256=sha256,
        message="" if item.get("ok") else say(item.get("message")),
        tls=str(item.get("tls_version") or ""),
        same=bool(expected) and sha256 == expected,
    )


def three_views(facts: Mapping[str, Any]) -> list[Row]:
    """Returns the recorded pair, the files on disk, and the wire, one below the other.

    Everything is compared with the record, or with the disk while nothing is recorded.
    """
    recorded = str(facts.get("recorded_sha256") or "")
    on_disk = str(facts.get("pair", {}).get("sha256") or "")
    rows = [_recorded(recorded), _on_disk(facts, recorded, on_disk)]
    return rows + endpoints(facts.get("endpoints", ()), recorded or on_disk)


def _recorded(sha256: str) -> Row:
    if sha256:
        return Row(str(_("Record of the portal")), str(_("Recorded")), "ok", "ok", sha256)
    return Row(str(_("Record of the portal")), str(_("Nothing recorded")), "idle", "unknown")


def _on_disk(facts: Mapping[str, Any], recorded: str, sha256: str) -> Row:
    word = str(_("Files in MailRoot"))
    if not facts.get("reachable"):
        return Row(word, str(_("Not seen")), "idle", "unknown")
    if not sha256:
        return Row(word, str(_("No certificate")), "warning", "warning")
    if recorded and recorded != sha256:
        return Row(word, str(_("Another certificate")), "error", "error", sha256)
    verdict = _("The same") if recorded else _("Present")
    return Row(word, str(verdict), "ok", "ok", sha256, same=bool(recorded))
