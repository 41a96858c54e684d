"""The matrix: every host and every service, green only where the recorded pair is presented."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import django_filters
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from hosts.filters import narrowed, search_hosts
from hosts.models import Diagnosis, Host
from hosts.views import present
from hosts.views.hosts import awaited_since
from xmailadmin import celery
from xmailadmin.searching import SearchFilter

PAGE = 30  # rows, each with up to seven services
Standing = Diagnosis.Standing
NOT_LOOKED_AT = "unknown"
# Headings of columns, which must be narrow; a service that few have is left out where it is off.
SHORT = {
    "smtp": "SMTP",
    "submission": "Submission",
    "smtps": "SMTPS",
    "pop3": "POP3",
    "pop3s": "POP3S",
    "ctrls": "CTRLS",
}
SELDOM = ("submission",)


class MatrixFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Search, and how what is presented compares with what is recorded."""

    q = SearchFilter(
        label=gettext_lazy("Name, address, MailRoot or memo"),
        method="search",
    )
    standing = django_filters.ChoiceFilter(
        label=gettext_lazy("Compared with the record"),
        choices=[
            (Standing.DIFFERS, gettext_lazy("Only what differs")),
            (Standing.SAME, gettext_lazy("Only what is as recorded")),
            (Standing.UNRECORDED, gettext_lazy("Only hosts with nothing recorded")),
            (NOT_LOOKED_AT, gettext_lazy("Only hosts that were not looked at")),
        ],
        method="compared",
        empty_label=gettext_lazy("All hosts"),
    )

    class Meta:
        model = Host
        fields: list[str] = []

    def search(self, hosts: QuerySet[Host], _name: str, value: str) -> QuerySet[Host]:
        return search_hosts(hosts, value)

    def compared(self, hosts: QuerySet[Host], _name: str, value: str) -> QuerySet[Host]:
        if value == NOT_LOOKED_AT:
            return hosts.filter(diagnosis=None)
        return hosts.filter(diagnosis__standing=value)


@dataclass(frozen=True)
class Cell:
    """One field of the matrix: what it is called, in one word, with its shape and colour."""

    label: str
    word: str
    tone: str
    icon: str
    detail: str = ""
    sha256: str = ""


@require_http_methods(("GET", "HEAD", "POST"))
def matrix(request: HttpRequest) -> HttpResponse:
    """Hosts and services; a POST has all of them looked at, as happens every hour anyway."""
    if request.method == "POST":
        since = timezone.now().isoformat()
        celery.ring("hosts.tasks.diagnose_all")
        return redirect(f"{reverse('matrix')}?{urlencode({'awaiting': since})}")
    hosts = Host.objects.filter(disabled=False)
    found = MatrixFilter(request.GET, queryset=hosts)
    rows = found.qs.select_related("diagnosis", "pair").order_by("name")
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    awaited = awaited_since(request)
    late = 0
    if awaited is not None:
        late = hosts.filter(Q(diagnosis=None) | Q(diagnosis__at__lt=awaited)).count()
    looked_at = Diagnosis.objects.filter(host__disabled=False)
    counts = dict.fromkeys(Standing.values, 0)
    counts |= dict(looked_at.values_list("standing").annotate(Count("pk")).order_by())
    counts["total"] = hosts.count()
    counts["unknown"] = counts["total"] - sum(counts[standing] for standing in Standing.values)
    filtered = narrowed(found)
    used = {endpoint.name for host in page for endpoint in host.endpoints}
    shown = [name for name in SHORT if name in used or name not in SELDOM]
    context = {
        "form": found.form,
        "filtered": filtered,
        "counts": counts,
        "columns": [_("Files"), *(SHORT[name] for name in shown)],
        "page": page,
        "rows": [_row(host, shown) for host in page],
        "late": late,
        "done": counts["total"] - late,
        "empty": not counts["total"],
    }
    name = "hosts/matrix_progress.html" if present.is_live(request) else "hosts/matrix.html"
    return render(request, name, context)


def _row(host: Host, shown: Iterable[str]) -> dict[str, Any]:
    taken = getattr(host, "diagnosis", None)
    facts = taken.facts if taken is not None else {}
    recorded = host.pair.sha256 if host.pair is not None else ""
    results = {str(item["name"]): item for item in facts.get("endpoints", ())}
    ports = {endpoint.name: endpoint.port for endpoint in host.endpoints}
    services = [
        _service(SHORT[name], ports.get(name, 0), results.get(name), recorded) for name in shown
    ]
    return {
        "host": host,
        "at": taken.at if taken is not None else None,
        "differs": taken is not None and taken.standing == Standing.DIFFERS,
        "cells": [_files(facts, recorded, looked=taken is not None), *services],
    }


def _service(label: str, port: int, item: Mapping[str, Any] | None, recorded: str) -> Cell:
    if not port:
        return Cell(label, _("Off"), "idle", "disabled")
    if item is None or item["port"] != port or item["message"]["code"] == "probe.not_tried":
        return Cell(label, _("Not seen"), "idle", "unknown")
    if not item["ok"]:
        return Cell(label, _("No TLS"), "warning", "warning", present.say(item["message"]))
    return _compared(label, str(item["sha256"]), recorded)


def _files(facts: Mapping[str, Any], recorded: str, *, looked: bool) -> Cell:
    label = _("Files")
    sha256 = str(facts.get("pair", {}).get("sha256") or "")
    if not looked or (not sha256 and not facts.get("reachable")):
        return Cell(label, _("Not seen"), "idle", "unknown", present.say(facts.get("error")))
    if not sha256:
        return Cell(label, _("No pair"), "warning", "warning")
    if facts["pair"].get("matches") is False:
        return Cell(label, _("No match"), "error", "error", sha256=sha256)
    return _compared(label, sha256, recorded)


def _compared(label: str, sha256: str, recorded: str) -> Cell:
    if not recorded:
        return Cell(label, _("Not recorded"), "idle", "info", sha256=sha256)
    if sha256 != recorded:
        return Cell(label, _("Another"), "error", "error", sha256=sha256)
    return Cell(label, _("Matches"), "ok", "ok")
