"""The first page: is every server serving what it should, and until when."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Min, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from certs.models import Pair
from hosts.models import Deployment, Diagnosis, Host
from hosts.views import present
from xmailadmin.templatetags.portal import expiry_tone

SHOWN = 8  # hosts and findings on the page


@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """Shows the state of the inventory at a glance, what wants attention, and what is going on."""
    hosts = Host.objects.filter(disabled=False)
    State = Host.State
    counts = Host.objects.aggregate(
        total=Count("pk", filter=Q(disabled=False)),
        ok=Count("pk", filter=Q(disabled=False, state=State.OK)),
        warning=Count("pk", filter=Q(disabled=False, state=State.WARNING)),
        error=Count("pk", filter=Q(disabled=False, state=State.ERROR)),
        unknown=Count("pk", filter=Q(disabled=False, state=State.UNKNOWN)),
        switched_off=Count("pk", filter=Q(disabled=True)),
        without=Count("pk", filter=Q(disabled=False, pair=None)),
        until=Min("pair__not_after", filter=Q(disabled=False)),
    )
    installed = (
        Pair.objects.filter(hosts__disabled=False)
        .annotate(served_by=Count("hosts", filter=Q(hosts__disabled=False)))
        .order_by("not_after", "pk")[:SHOWN]
    )
    context = {
        "counts": counts,
        "tone": _tone(counts),
        "until_tone": expiry_tone(counts["until"]),
        "attention": _attention(),
        "installed": installed,
        "hosts": hosts.select_related("pair").order_by("name")[:SHOWN],
        "more_hosts": max(0, counts["total"] - SHOWN),
        "deployments": Deployment.objects.counted(Deployment.objects.select_related("pair")[:5]),
        "usable_pairs": Pair.objects.filter(status=Pair.Status.ISSUED, state="ok").exists(),
        "deployed": Deployment.objects.exists(),
        "now": timezone.now(),
    }
    return render(request, "hosts/dashboard.html", context)


def _tone(counts: dict[str, Any]) -> str:
    """Returns the tone of the whole: the gravest state that any host has."""
    expired = expiry_tone(counts["until"]) if counts["until"] else "ok"
    for tone in ("error", "warning"):
        if counts[tone] or expired == tone:
            return tone
    return "unknown" if counts["unknown"] else "ok"


def _attention() -> list[present.Finding]:
    """Returns the gravest finding of each of the first hosts that are not in order."""
    diagnoses = (
        Diagnosis.objects.filter(
            host__disabled=False, host__state__in=(Host.State.ERROR, Host.State.WARNING)
        )
        .select_related("host")
        .defer("facts")
        .order_by("host__state", "host__name")[:SHOWN]
    )
    return [
        present.gravest_first(present.findings(diagnosis.findings, diagnosis.host))[0]
        for diagnosis in diagnoses
        if diagnosis.findings
    ]
