"""The inventory: the list of hosts, the page of each, and what can be done with one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Case, IntegerField, Q, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from certs.filters import PairSearch
from certs.models import Pair
from hosts import deploy, turns
from hosts.filters import HostFilter, key, narrowed
from hosts.messages import Message
from hosts.models import Host, Installation
from hosts.registration import shown_identity
from hosts.tables import HostTable
from hosts.views import present
from hosts.views.actions import may_act, with_actions
from hosts.wording import word
from xmailadmin import celery
from xmailadmin.tables import PAGE, KeysFirst, configure

GET_OR_POST = ("GET", "HEAD", "POST")
HISTORY_SHOWN = 8  # rows
PATIENCE = timedelta(seconds=90)  # how long a page waits for a diagnosis that was asked for


@require_safe
def host_list(request: HttpRequest) -> HttpResponse:
    """Every host; searched, filtered and sorted."""
    found = HostFilter(request.GET, queryset=Host.objects.all())
    table = HostTable(KeysFirst(found.qs.select_related("pair")))
    configure(request, table, PAGE)
    filtered = narrowed(found)
    context = {
        "table": table,
        "form": found.form,
        "filtered": filtered,
        "empty": not filtered and not table.page.paginator.count,
        "pair": Pair.objects.filter(pk=key(request.GET.get("pair"))).first(),
    }
    return render(request, "hosts/host_list.html", context)


@require_safe
def host_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One host: what it holds and serves, what to do about it, and its history."""
    host = get_object_or_404(Host.objects.select_related("pair", "diagnosis"), pk=pk)
    diagnosis = getattr(host, "diagnosis", None)
    awaited = awaited_since(request)
    waiting = awaited is not None and (diagnosis is None or diagnosis.at < awaited)
    rows = host.installations.select_related("deployment", "pair", "previous_pair")
    recent = list(rows.order_by("-pk")[:HISTORY_SHOWN])
    found = present.findings(diagnosis.findings) if diagnosis is not None else []
    if diagnosis is not None and may_act(request):
        found = with_actions(found, diagnosis, host)
    context = {
        "host": host,
        "identity": shown_identity(host.transport, host.trust_fingerprint),
        "diagnosis": diagnosis,
        "waiting": waiting,
        "questions": found[:3],
        "findings": present.gravest_first(found[3:]),
        "three_views": present.three_views(diagnosis.facts) if diagnosis is not None else [],
        "installations": recent,
        "running": next((row for row in recent if not row.finished), None),
    }
    if present.is_live(request):
        return render(request, "hosts/host_diagnosis.html", context | {"live": True})
    context["undoable"] = deploy.undoable(host)
    return render(request, "hosts/host_detail.html", context)


def awaited_since(request: HttpRequest) -> datetime | None:
    """Returns since when the page waits for a diagnosis, as long as waiting makes sense."""
    try:
        since = parse_datetime(request.GET.get("awaiting", ""))
        if since is None or timezone.is_naive(since):
            return None
        since = since.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return since if abs(timezone.now() - since) <= PATIENCE else None


def awaiting(host: Host) -> str:
    """Returns the address of the host's page that waits for the next diagnosis."""
    return f"{host.get_absolute_url()}?{urlencode({'awaiting': timezone.now().isoformat()})}"


@require_POST
def host_diagnose(request: HttpRequest, pk: int) -> HttpResponse:
    """Has the host looked at anew and shows the page that waits for it."""
    host = get_object_or_404(Host, pk=pk)
    address = awaiting(host)
    celery.ring("hosts.tasks.diagnose_hosts", [host.pk])
    return redirect(address)


@require_POST
def host_disable(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes the host out of deployments and diagnoses."""
    host = get_object_or_404(Host, pk=pk)
    try:
        deploy.disable(host, by=request)
    except Host.DoesNotExist:
        raise Http404 from None
    messages.success(
        request, _("%(host)s is disabled: nothing is installed on it any more.") % _name(host)
    )
    return redirect(host)


@require_POST
def host_enable(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes the host into deployments and diagnoses again."""
    host = get_object_or_404(Host, pk=pk)
    deploy.enable(host, by=request)
    messages.success(request, _("%(host)s is enabled again.") % _name(host))
    return redirect(host)


def _name(host: Host) -> dict[str, str]:
    return {"host": host.name}


@require_http_methods(GET_OR_POST)
def host_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then removes the host from the inventory; its history and its files stay."""
    host = get_object_or_404(Host.objects.select_related("pair"), pk=pk)
    if request.method == "POST":
        try:
            deploy.delete(host, by=request)
        except Host.DoesNotExist:
            raise Http404 from None
        except turns.Begun:
            messages.error(request, word(Message("registration.installing")))
            return redirect(host)
        messages.success(request, _("%(host)s is deleted. Its history is kept.") % _name(host))
        return redirect("host_list")
    context = {
        "host": host,
        "installations": host.installations.count(),
        "unfinished": host.installations.filter(status__in=Installation.UNFINISHED).exists(),
        "confirm": _("Delete the host"),
        "cancel_url": host.get_absolute_url(),
        "danger": True,
    }
    return render(request, "hosts/host_delete.html", context)


@require_safe
def host_install(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks which pair the host shall get; the page that begins the installation comes next."""
    host = get_object_or_404(Host.objects.select_related("pair"), pk=pk)
    status = Pair.Status
    made = Q(status=status.ISSUED, state="ok") & ~Q(not_after__lt=timezone.now())
    coming = Q(status__in=(status.QUEUED, status.ISSUING))
    found = PairSearch(request.GET, queryset=Pair.objects.filter(made | coming))
    its_own_first = Case(
        When(pk=host.pair_id, then=Value(0)), default=Value(1), output_field=IntegerField()
    )
    pairs = found.qs.defer("certificate", "certificate_sealed", "key_sealed").order_by(
        its_own_first, "-pk"
    )
    page = Paginator(pairs, PAGE).get_page(request.GET.get("page"))
    filtered = narrowed(found)
    context = {"host": host, "page": page, "form": found.form, "filtered": filtered}
    context["empty"] = not filtered and not page.paginator.count
    return render(request, "hosts/host_install.html", context)


@require_http_methods(GET_OR_POST)
def host_rollback(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then puts back what the host held before its last change."""
    host = get_object_or_404(Host.objects.select_related("pair"), pk=pk)
    if request.method == "POST":
        try:
            deployment = deploy.rollback_host(host, by=request, remove="remove" in request.POST)
        except deploy.Refused as refusal:
            messages.error(request, present.say(refusal.message))
            return redirect(host)
        return redirect(deployment)
    undone = deploy.undoable(host)
    context = {
        "host": host,
        "undone": undone,
        "refusal": present.say(deploy.moved(undone)) if undone is not None else "",
        "confirm": _("Roll back"),
        "cancel_url": host.get_absolute_url(),
        "danger": True,
    }
    return render(request, "hosts/host_rollback.html", context)
