"""The history: what was done to which host, by whom, and what came of it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from certs.clients import tables
from certs.models import Pair
from certs.models.client_note import Protocol
from certs.note_snapshots import judgement_in, notes_in
from hosts import deploy
from hosts.filters import InstallationFilter, key, narrowed
from hosts.models import Host, Installation
from hosts.tables import InstallationTable
from hosts.views import present
from xmailadmin.tables import PAGE, KeysFirst, configure


@require_safe
def installation_list(request: HttpRequest) -> HttpResponse:
    """Every installation, the newest first; by host, pair, outcome, person and date."""
    found = InstallationFilter(request.GET, queryset=Installation.objects.all())
    rows = found.qs.select_related("deployment", "pair", "previous_pair", "host").defer(
        "steps", "endpoints", "notes"
    )
    table = InstallationTable(KeysFirst(rows))
    configure(request, table, PAGE)
    filtered = narrowed(found)
    context = {
        "table": table,
        "form": found.form,
        "filtered": filtered,
        "empty": not filtered and not table.page.paginator.count,
        "host": _chosen(Host, request.GET.get("host")),
        "pair": _chosen(Pair, request.GET.get("pair")),
    }
    return render(request, "hosts/installation_list.html", context)


def _chosen(model: type[Host] | type[Pair], raw: str | None) -> Host | Pair | None:
    """Returns the one object to which a link narrowed the list."""
    return model._default_manager.filter(pk=key(raw)).first()


@require_safe
def installation_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """What was done to one host: each step, what was there before, and what followed from it."""
    row = get_object_or_404(
        Installation.objects.select_related(
            "deployment", "pair", "previous_pair", "host", "client_notes"
        ),
        pk=pk,
    )
    latest = deploy.undoable(row.host) if row.host is not None else None
    notes = notes_in(row.client_notes) if row.client_notes is not None else []
    context = {
        "row": row,
        "message": present.say(row.message),
        "steps": present.steps(row),
        "notes": [present.say(note) for note in row.notes],
        "endpoints": present.endpoints(row.endpoints, row.pair.sha256 if row.pair else ""),
        "client_tables": tables(notes),
        "judgement": judgement_in(row.client_notes) if row.client_notes is not None else None,
        "protocols": Protocol.values,
        "undoable": latest is not None and latest.pk == row.pk,
        "live": not row.finished,
    }
    name = "hosts/installation_progress.html" if present.is_live(request) else None
    return render(request, name or "hosts/installation_detail.html", context)
