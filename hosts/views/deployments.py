"""Deployments: asking for one, watching it, and taking it back."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from certs.models import Pair
from hosts import deploy, judging
from hosts.filters import DeploymentFilter, narrowed
from hosts.forms import DeploymentForm
from hosts.models import Deployment, Installation
from hosts.tables import DeploymentTable
from hosts.views import present
from xmailadmin.tables import PAGE, KeysFirst, configure

Status = Installation.Status
GET_OR_POST = ("GET", "HEAD", "POST")


@require_safe
def deployment_list(request: HttpRequest) -> HttpResponse:
    """Every deployment, the newest first."""
    found = DeploymentFilter(request.GET, queryset=Deployment.objects.all())
    table = DeploymentTable(KeysFirst(found.qs.select_related("pair")))
    configure(request, table, PAGE)
    Deployment.objects.counted(table.page.object_list.data)
    filtered = narrowed(found)
    context = {
        "table": table,
        "form": found.form,
        "filtered": filtered,
        "empty": not filtered and not table.page.paginator.count,
    }
    return render(request, "hosts/deployment_list.html", context)


@require_http_methods(GET_OR_POST)
def deployment_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks on which hosts the pair is to be installed, and begins."""
    pair = get_object_or_404(Pair, pk=pk)
    if not (pair.usable or pair.pending):
        messages.error(request, _("This pair cannot be installed: XMail could not use it."))
        return redirect(pair)
    held = False
    if request.method == "POST":
        form = DeploymentForm(request.POST)
        hosts = list(form.chosen()) if form.is_valid() else []
        judgement = judging.judge_pair(pair, hosts)
        asked = {"preview", "judge"} & set(request.POST)
        held = not asked and form.is_valid() and not judging.is_accepted(request, judgement)
        if form.is_valid() and not asked and not held:
            try:
                deployment = deploy.create_deployment(
                    pair,
                    hosts,
                    by=request,
                    place_only=bool(form.cleaned_data["place_only"]),
                    first=form.first,
                    stop_after=form.cleaned_data["stop_after"] or 0,
                )
            except deploy.HostGone as refusal:
                form.add_error("which", present.say(refusal.message))
            else:
                return redirect(deployment)
    else:
        form = DeploymentForm(initial={"hosts": request.GET.getlist("host")})
        judgement = judging.judge_pair(pair, [host for host, ticked in form.rows if ticked])
    context = {
        "pair": pair,
        "form": form,
        "preview": "preview" in request.POST,
        "judgement": judgement,
        "judged": judging.mark_of(judgement),
        "held": held,
    }
    return render(request, "hosts/deployment_new.html", context)


@require_safe
def deployment_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One deployment: each host's step as it happens, then the summary."""
    deployment = get_object_or_404(_detailed(), pk=pk)
    return render(request, "hosts/deployment_detail.html", _context(request, deployment))


@require_safe
def deployment_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page above that changes; it asks for itself again until all is done."""
    deployment = get_object_or_404(_detailed(), pk=pk)
    return render(request, "hosts/deployment_progress.html", _context(request, deployment))


def _detailed() -> QuerySet[Deployment]:
    return Deployment.objects.select_related("pair", "rolls_back")


# What a person looks for first comes first: what failed, what is going on, then the rest.
ORDER = Case(
    When(status__in=Installation.BAD, then=Value(0)),
    When(status=Status.RUNNING, then=Value(1)),
    When(status=Status.CANCELLED, then=Value(2)),
    When(status=Status.QUEUED, then=Value(3)),
    default=Value(4),
    output_field=IntegerField(),
)


def _context(request: HttpRequest, deployment: Deployment) -> dict[str, object]:
    counts = deployment.counts()
    total = sum(counts.values())
    left = sum(counts.get(status, 0) for status in Installation.UNFINISHED)
    bad = sum(counts.get(status, 0) for status in (*Installation.BAD, Status.CANCELLED))
    # Put in order by keys alone: the rows are long, and all but one page of them are not wanted.
    keys = deployment.installations.order_by(ORDER, "host_name").values_list("pk", flat=True)
    page = Paginator(keys, PAGE).get_page(request.GET.get("page"))
    rows = (
        Installation.objects.select_related("pair", "host")
        .defer("endpoints", "notes")
        .in_bulk(list(page))
    )
    shown = [
        {
            "row": row,
            "word": present.step_word(row.step) if row.step else "",
            "text": present.say(row.message or (row.steps[-1]["message"] if row.steps else None)),
        }
        for row in (rows[pk] for pk in page if pk in rows)
    ]
    return {
        "deployment": deployment,
        "counts": [{"status": status, "number": number} for status, number in counts.items()],
        "total": total,
        "done": total - left,
        "bad": bad,
        "live": not deployment.finished,
        "waiting": counts.get(Status.QUEUED, 0),
        "page": page,
        "rows": shown,
        "label": ngettext(
            "%(done)s of %(total)s host is done.", "%(done)s of %(total)s hosts are done.", total
        )
        % {"done": total - left, "total": total},
        "undoable": deployment.finished and deploy.changed_by(deployment).exists(),
        "again": bool(deployment.finished and bad and deploy.retryable(deployment).exists()),
    }


@require_POST
def deployment_retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Tries again on the hosts where this deployment failed or never began, and only there."""
    deployment = get_object_or_404(_detailed(), pk=pk)
    try:
        again = deploy.retry(deployment, by=request) if deployment.finished else None
    except deploy.HostGone as refusal:
        messages.error(request, present.say(refusal.message))
        return redirect(deployment)
    if again is None:
        messages.info(request, _("There is no host left on which this could be tried again."))
        return redirect(deployment)
    return redirect(again)


@require_POST
def deployment_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Begins no further host; what is begun is finished."""
    deployment = get_object_or_404(_detailed(), pk=pk)
    if deployment.finished:
        messages.info(request, _("This deployment is finished already, so nothing was cancelled."))
        return redirect(deployment)
    count = deploy.cancel(deployment, by=request)
    told = ngettext(
        "Cancelled on %(count)s host that had not been begun.",
        "Cancelled on %(count)s hosts that had not been begun.",
        count,
    )
    messages.success(request, told % {"count": count})
    return redirect(deployment)


@require_http_methods(GET_OR_POST)
def deployment_rollback(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then puts back on every host what it held before this deployment."""
    deployment = get_object_or_404(_detailed(), pk=pk)
    left_out = deploy.left_out(deployment)
    if request.method == "POST":
        try:
            back = deploy.rollback_deployment(
                deployment, by=request, remove="remove" in request.POST
            )
        except deploy.Refused as refusal:
            messages.error(request, present.say(refusal.message))
            return redirect(deployment)
        if left_out:
            told = ngettext(
                "%(count)s host is left out, because it is at another place by now.",
                "%(count)s hosts are left out, because they are at another place by now.",
                len(left_out),
            )
            messages.warning(request, told % {"count": len(left_out)})
        return redirect(back)
    changed = deploy.changed_by(deployment).exclude(pk__in=[row.pk for row in left_out])
    changed = changed.select_related("previous_pair").order_by("host_name")
    context = {
        "deployment": deployment,
        "rows": changed[:PAGE],
        "more": max(0, changed.count() - PAGE),
        "left_out": left_out[:PAGE],
        "more_left_out": max(0, len(left_out) - PAGE),
        "without": changed.filter(previous_pair=None).count(),
        "confirm": _("Roll back"),
        "cancel_url": deployment.get_absolute_url(),
        "danger": True,
    }
    return render(request, "hosts/deployment_rollback.html", context)
