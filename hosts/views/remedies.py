"""What the buttons beside findings do."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from hosts import by_hand, deploy
from hosts.models import Host
from hosts.views.hosts import awaiting
from hosts.wording import word
from xmailadmin import celery


@require_POST
def host_reinstall(request: HttpRequest, pk: int) -> HttpResponse:
    """Installs the pair that is on record for the host, over whatever is there now."""
    host = get_object_or_404(Host.objects.select_related("pair"), pk=pk)
    if host.disabled or host.pair is None or not host.pair.usable:
        messages.error(request, _("There is no recorded pair that could be installed there."))
        return redirect(host)
    try:
        return redirect(deploy.create_deployment(host.pair, [host], by=request))
    except deploy.HostGone:
        raise Http404 from None


@require_http_methods(("GET", "HEAD", "POST"))
def host_adopt(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then puts what lies on the host on record as its own pair."""
    host = get_object_or_404(Host.objects.select_related("pair", "diagnosis"), pk=pk)
    if request.method == "POST":
        try:
            pair = by_hand.adopt(host, by=request)
        except by_hand.Refused as refusal:
            messages.error(request, word(refusal.message))
            return redirect(host)
        told = {"host": host.name, "pair": pair}
        messages.success(request, _("%(pair)s is on record as the pair of %(host)s.") % told)
        return _looked_at_again(host)
    diagnosis = getattr(host, "diagnosis", None)
    context = {
        "host": host,
        "found": diagnosis.facts.get("pair", {}) if diagnosis is not None else {},
        "confirm": _("Keep what is there"),
        "cancel_url": host.get_absolute_url(),
    }
    return render(request, "hosts/host_adopt.html", context)


@require_POST
def host_mend(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes the private key on the host from everybody but its owner."""
    host = get_object_or_404(Host, pk=pk)
    try:
        by_hand.mend_mode(host, by=request)
    except by_hand.Refused as refusal:
        messages.error(request, word(refusal.message))
        return redirect(host)
    messages.success(request, _("Only its owner can read the private key now."))
    return _looked_at_again(host)


@require_POST
def host_mended(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes a person's word that the mode of the key was mended."""
    host = get_object_or_404(Host, pk=pk)
    by_hand.say_mended(host, by=request)
    messages.success(request, _("It is noted that the mode of the private key was mended."))
    return _looked_at_again(host)


def _looked_at_again(host: Host) -> HttpResponse:
    address = awaiting(host)
    celery.ring("hosts.tasks.diagnose_hosts", [host.pk])
    return redirect(address)
