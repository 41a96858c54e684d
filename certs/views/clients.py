"""Pages of the client notes: the tables with their filters, and one page a client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from certs.clients import (
    DEFAULT_KIND,
    GENERAL_KINDS,
    kind_order,
    notes_of_kinds,
    settings_of,
    tables,
)
from certs.models import ClientNote, ClientReport
from certs.models.client_note import SIGNS, CertificateKind, Mark, Protocol, Verify

EVERY_KIND = "all"

VERIFICATION = dict(Verify.choices)
LEGEND = [(SIGNS[mark], mark.label, mark.value) for mark in Mark]


class NoteFilter(forms.Form):
    """The choices above the tables. Whatever is left out or unknown does not narrow the list."""

    os = forms.ChoiceField(label=_("Operating system"), required=False)
    client = forms.ChoiceField(label=_("Mail client"), required=False)
    protocol = forms.ChoiceField(label=_("Protocol"), required=False)
    kind = forms.ChoiceField(label=_("Certificate kind"), required=False)
    current = forms.BooleanField(label=_("Only current notes"), required=False)
    ageing = forms.BooleanField(label=_("Only ageing notes"), required=False)

    def __init__(self, data: Any, notes: Iterable[ClientNote]) -> None:
        super().__init__(data)
        systems = {note.os: note.os for note in notes}
        clients = {note.client_slug: note.client_name for note in notes}
        by_name = sorted(clients.items(), key=lambda item: item[1].casefold())
        self._offer("os", _("All"), systems.items())
        self._offer("client", _("All"), by_name)
        self._offer("protocol", _("Both"), Protocol.choices)
        kinds = [(k.value, k.label) for k in CertificateKind if k not in GENERAL_KINDS]
        self._offer("kind", None, [*kinds, (EVERY_KIND, _("Every kind, a row each"))])
        for field in self.fields.values():
            checkbox = isinstance(field, forms.BooleanField)
            field.widget.attrs["class"] = "form-check-input" if checkbox else "form-select"

    def _offer(self, name: str, nothing: Any, choices: Iterable[tuple[Any, Any]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  tells the type checker
        field.choices = [*([("", nothing)] if nothing else []), *choices]

    def chosen(self, name: str) -> str:
        """Returns a choice that stands, or an empty string."""
        return str(self.cleaned_data.get(name) or "")


@require_safe
def client_list(request: HttpRequest) -> HttpResponse:
    """The notes in the original page's form: operating system by client, sending and receiving."""
    known = _known_clients()
    data = request.GET.copy()
    data.setdefault("kind", DEFAULT_KIND)
    form = NoteFilter(data, known)
    form.is_valid()
    kind = form.chosen("kind") or DEFAULT_KIND
    every_kind = kind == EVERY_KIND
    notes = ClientNote.objects.all() if every_kind else notes_of_kinds([kind])
    for name, column in (("os", "os"), ("client", "client_slug"), ("protocol", "protocol")):
        if value := form.chosen(name):
            notes = notes.filter(**{column: value})
    if form.cleaned_data.get("current"):
        notes = notes.filter(historical=False)
    shown: Iterable[ClientNote] = notes.defer("results")
    if form.cleaned_data.get("ageing"):
        shown = [note for note in shown if note.ageing]
    found = tables(shown, by_kind=every_kind)
    context = {
        "form": form,
        "legend": LEGEND,
        "current_tables": [table for table in found if not table.historical],
        "historical_tables": [table for table in found if table.historical],
        "hide_historical": bool(form.cleaned_data.get("current")),
        "protocols": [form.chosen("protocol")] if form.chosen("protocol") else Protocol.values,
        "kind_text": "" if every_kind else CertificateKind(kind).label,
        "every_kind": every_kind,
        "any_notes": bool(known),
        "filtered": any(name in request.GET for name in form.fields),
        "age_days": settings.NOTE_AGE_DAYS,
        "open_reports": ClientReport.objects.filter(status=ClientReport.Status.OPEN).count(),
    }
    return render(request, "certs/client_list.html", context)


def _known_clients() -> list[ClientNote]:
    """One unsaved note an operating system and client, for the choices of the filter."""
    rows = ClientNote.objects.order_by("historical", "-os", "client_slug").distinct()
    return [
        ClientNote(**row)
        for row in rows.values("historical", "os", "client_slug", "client", "client_ja")
    ]


@require_safe
def client_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """What one client needs and does, kind by kind, with every single run that was measured."""
    notes = list(ClientNote.objects.filter(client_slug=slug))
    if not notes:
        raise Http404
    current = [note for note in notes if not note.historical]
    historical = [note for note in notes if note.historical]
    context = {
        "slug": slug,
        "notes": sorted(notes, key=_place),
        "ageing": sum(note.ageing for note in notes),
        "age_days": settings.NOTE_AGE_DAYS,
        "client_name": (current or historical)[0].client_name,
        "legend": LEGEND,
        "protocols": Protocol.values,
        "versions": _unique((note.version_text, note.os) for note in current),
        "current": bool(current),
        "settings": settings_of(current or historical),
        "current_tables": tables(current, by_kind=True),
        "historical_tables": tables(historical),
        "measured": _runs(current),
        "sources": _sources(notes),
    }
    return render(request, "certs/client_detail.html", context)


def _place(note: ClientNote) -> tuple[object, ...]:
    """Where a note stands in the list of all notes of its client."""
    kind = kind_order(note.certificate_kind)
    return (note.historical, note.os, note.version, kind, note.protocol, note.security)


def _runs(notes: list[ClientNote]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Every run, as it was noted down, under its kind of certificate."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for note in sorted(notes, key=lambda note: kind_order(note.certificate_kind)):
        for run in note.results:
            parts = (run.get("setting", ""), run.get("variant", ""))
            kinds.setdefault(str(note.get_certificate_kind_display()), []).append(
                {
                    "protocol": note.protocol,
                    "security": note.get_security_display(),
                    "verify": VERIFICATION[run["verify"]],
                    "ok": run["result"] == "ok",
                    "message": run.get("message", ""),
                    "setting": " · ".join(part for part in parts if part),
                }
            )
    return list(kinds.items())


def _sources(notes: list[ClientNote]) -> list[dict[str, Any]]:
    found = _unique((n.get_source_display(), n.source_detail, n.measured_on) for n in notes)
    return [{"text": text, "detail": detail, "measured_on": day} for text, detail, day in found]


def _unique(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
