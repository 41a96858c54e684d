"""The diagnosis of all hosts, and the set-up guide that begins with it."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Case, Count, IntegerField, Q, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from certs.models import Pair
from hosts.filters import DiagnosisFilter, narrowed
from hosts.models import Host
from hosts.views import present
from hosts.views.actions import may_act, with_actions
from hosts.views.hosts import awaited_since
from xmailadmin import celery
from xmailadmin.tables import PAGE

State = Host.State
GRAVEST_FIRST = Case(
    When(state=State.ERROR, then=Value(0)),
    When(state=State.WARNING, then=Value(1)),
    When(state=State.UNKNOWN, then=Value(2)),
    default=Value(3),
    output_field=IntegerField(),
)
IN_GUIDE = 10  # hosts


@require_http_methods(("GET", "HEAD", "POST"))
def diagnosis(request: HttpRequest) -> HttpResponse:
    """What every host holds and serves, the gravest first; a POST has all of them looked at."""
    if request.method == "POST":
        since = timezone.now().isoformat()
        celery.ring("hosts.tasks.diagnose_all")
        return redirect(f"{reverse('diagnosis')}?{urlencode({'awaiting': since})}")
    hosts = Host.objects.filter(disabled=False)
    found = DiagnosisFilter(request.GET, queryset=hosts)
    rows = found.qs.select_related("diagnosis", "pair").order_by(GRAVEST_FIRST, "name")
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    awaited = awaited_since(request)
    late = 0
    if awaited is not None:
        late = hosts.filter(Q(diagnosis=None) | Q(diagnosis__at__lt=awaited)).count()
    counts = hosts.aggregate(
        total=Count("pk"),
        **{state: Count("pk", filter=Q(state=state)) for state in State.values},
    )
    filtered = narrowed(found)
    context = {
        "form": found.form,
        "filtered": filtered,
        "counts": counts,
        "page": page,
        "rows": [_row(host, acts=may_act(request)) for host in page],
        "late": late,
        "done": counts["total"] - late,
        "empty": not counts["total"],
    }
    name = "hosts/diagnosis_progress.html" if present.is_live(request) else "hosts/diagnosis.html"
    return render(request, name, context)


def _row(host: Host, *, acts: bool) -> dict[str, Any]:
    """Returns a host with its findings in words: the three questions, then what else stands out."""
    taken = getattr(host, "diagnosis", None)
    found = present.findings(taken.findings) if taken is not None else []
    if taken is not None and acts:
        found = with_actions(found, taken, host)
    return {
        "host": host,
        "at": taken.at if taken is not None else None,
        "questions": found[:3],
        "more": [
            finding
            for finding in present.gravest_first(found[3:])
            if finding.level in ("error", "warning")
        ],
    }


@require_safe
def guide(request: HttpRequest) -> HttpResponse:
    """The set-up guide: what to do, in which order, and where the hosts stand."""
    hosts = Host.objects.filter(disabled=False)
    looked_at = hosts.exclude(diagnosis=None)
    # The first three findings answer the three questions, in this order.
    answers = {
        name: Count("pk", filter=Q(**{f"diagnosis__findings__{number}__level": "ok"}))
        for number, name in enumerate(("pair_ok", "key_ok", "ca_ok"))
    }
    troubled = looked_at.filter(state__in=(State.ERROR, State.WARNING))
    context = {
        "diagnosis": {
            **looked_at.aggregate(total=Count("pk"), **answers),
            "problems": troubled.order_by(GRAVEST_FIRST, "name")[:IN_GUIDE],
        },
        "pair": Pair.objects.filter(
            origin=Pair.Origin.ISSUED, status=Pair.Status.ISSUED, state="ok"
        ).first(),
    }
    return render(request, "hosts/guide.html", context)
