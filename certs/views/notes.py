"""Pages on which the team adds, corrects and confirms client notes; every change is kept."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import messages
from django.core.paginator import Paginator
from django.core.validators import slug_re
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from certs import note_changes
from certs.models import ClientNote, NoteChange
from certs.note_forms import NoteForm

GET_OR_POST = ("GET", "HEAD", "POST")
CHANGES_A_PAGE = 25


@require_safe
def note_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One note with everything that was ever changed in it."""
    note = get_object_or_404(ClientNote, pk=pk)
    values = note_changes.differences(NoteChange(after=note_changes.fields_of(note)))
    context = {
        "note": note,
        "values": [(line.label, line.after) for line in values],
        "changes": _worded(note.changes.all()[:CHANGES_A_PAGE]),
        "own": note_changes.is_own(note),
    }
    return render(request, "certs/note_detail.html", context)


@require_http_methods(GET_OR_POST)
def note_new(request: HttpRequest) -> HttpResponse:
    """Adds a note; `?like=<note>` offers that note's values, for a new version of a client."""
    if request.method == "POST":
        form = NoteForm(request.POST)
        if form.is_valid():
            note = form.prepare()
            note_changes.keep(note, by=request, before=None)
            messages.success(request, _("The note was added."))
            return redirect("client_note_detail", note.pk)
    else:
        form = NoteForm(initial=_like(request.GET.get("like", "")))
    return render(request, "certs/note_form.html", {"form": form, "note": None})


def _like(raw: str) -> dict[str, object]:
    usable = raw.isascii() and raw.isdecimal() and len(raw) <= 18
    note = ClientNote.objects.filter(pk=int(raw)).first() if usable else None
    if note is None:
        return {}
    own = {"source", "source_detail", "measured_on", "version", "version_ja"}
    own |= {"historical", "for_mail_users"}
    return {name: getattr(note, name) for name in NoteForm.Meta.fields if name not in own}


@require_http_methods(GET_OR_POST)
@transaction.atomic
def note_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Corrects a note; what it said before is kept."""
    note = get_object_or_404(ClientNote.objects.select_for_update(), pk=pk)
    form = NoteForm(request.POST or None, instance=note)
    if request.method == "POST" and form.is_valid():
        if note_changes.keep(form.prepare(), by=request, before=form.before) is None:
            messages.info(request, _("Nothing was changed."))
        else:
            messages.success(
                request, _("The note was corrected. What it said before is kept below.")
            )
        return redirect("client_note_detail", pk)
    shown = ClientNote.objects.get(pk=pk)  # the form has written into the other one
    return render(request, "certs/note_form.html", {"form": form, "note": shown})


@require_POST
@transaction.atomic
def note_confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Keeps that somebody saw today that the note holds."""
    note = get_object_or_404(ClientNote.objects.select_for_update(), pk=pk)
    note_changes.confirm(note, by=request)
    messages.success(request, _("Confirmed: the note holds as of today."))
    return redirect("client_note_detail", pk)


@require_POST
@transaction.atomic
def client_confirm(request: HttpRequest, slug: str) -> HttpResponse:
    """Confirms every current note of one client at once."""
    current = ClientNote.objects.filter(client_slug=slug, historical=False)
    notes = list(current.select_for_update().order_by("pk"))
    if not notes:
        raise Http404
    done = sum(note_changes.confirm(note, by=request) is not None for note in notes)
    messages.success(
        request,
        ngettext("%(done)s note was confirmed.", "%(done)s notes were confirmed.", done)
        % {"done": done},
    )
    return redirect("client_detail", slug)


@require_http_methods(GET_OR_POST)
@transaction.atomic
def note_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then removes a note that was made here."""
    note = get_object_or_404(ClientNote.objects.select_for_update(), pk=pk)
    if not note_changes.is_own(note):
        raise Http404
    if request.method == "POST":
        note_changes.remove(note, by=request)
        messages.success(request, _("The note was removed. Its changes are still listed."))
        return redirect("client_note_changes")
    context = {
        "note": note,
        "confirm": _("Remove the note"),
        "cancel_url": note.get_absolute_url(),
        "danger": True,
    }
    return render(request, "certs/note_remove.html", context)


@require_safe
def changes(request: HttpRequest) -> HttpResponse:
    """Every change of every note, the newest first; `?client=` narrows it to one client."""
    found = NoteChange.objects.all()
    if slug := request.GET.get("client", ""):
        # PostgreSQL refuses a query for what no text can hold.
        found = found.filter(client_slug=slug) if slug_re.match(slug) else found.none()
    page = Paginator(found, CHANGES_A_PAGE).get_page(request.GET.get("page"))
    context = {"changes": _worded(page.object_list), "page": page, "client": slug}
    return render(request, "certs/note_changes.html", context)


def _worded(found: Iterable[NoteChange]) -> list[dict[str, object]]:
    return [
        {"change": change, "differences": list(note_changes.differences(change))}
        for change in found
    ]
