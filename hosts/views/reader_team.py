"""What the team does with the page for mail users: switch it on, renew, withdraw, announce."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from certs.models import Pair
from hosts.models import Host, ReaderPage
from hosts.reader_forms import AnnounceForm, ReaderForm
from xmailadmin import audit

__all__ = ["host_reader", "pair_reader", "reader_announce", "reader_renew", "reader_withdraw"]

get_or_post = require_http_methods(("GET", "HEAD", "POST"))


@get_or_post
@transaction.atomic
def host_reader(request: HttpRequest, pk: int) -> HttpResponse:
    """Switches the page of a host on, or changes what it says."""
    # Locked, so that two people who switch it on at once make one page.
    host = get_object_or_404(Host.objects.select_for_update(no_key=True), pk=pk)
    page = ReaderPage.objects.about(host).first() or ReaderPage(host=host)
    return _edit(request, page)


@get_or_post
@transaction.atomic
def pair_reader(request: HttpRequest, pk: int) -> HttpResponse:
    """Switches the page of a pair on, or changes what it says."""
    pair = get_object_or_404(Pair.objects.select_for_update(no_key=True), pk=pk)
    page = ReaderPage.objects.about(pair).first() or ReaderPage(pair=pair)
    return _edit(request, page)


def _edit(request: HttpRequest, page: ReaderPage) -> HttpResponse:
    pair = page.current_pair()
    if pair is None or pair.facts() is None:
        messages.error(
            request,
            _(
                "There is no certificate to tell people about yet. Make a pair and install it "
                "first."
            ),
        )
        return redirect(page)
    was_on = page.on
    form = ReaderForm(request.POST or None, instance=page)
    if request.method == "POST" and form.is_valid():
        if was_on:
            # Only what was asked: the seal may have been renewed since the row was read.
            page.save(update_fields=ReaderForm.Meta.fields)
        else:
            form.instance.switch_on()
        action = "reader.edit" if was_on else "reader.on"
        audit.record(request, action, page.subject, server=page.server_name)
        if was_on:
            messages.success(request, _("The changes are saved."))
        else:
            messages.success(request, _("The page is on. Give its link to your mail users."))
        return redirect(page)
    context = {"form": form, "page": page, "was_on": was_on, "services": page.endpoints()}
    return render(request, "hosts/reader/edit.html", context)


@get_or_post
def reader_renew(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then gives the page a new link; the old one stops working."""
    page = _page(pk)
    if request.method == "POST":
        with transaction.atomic():
            # Locked and read anew, for all of it is saved; first what it is about, as everywhere.
            about = type(page.subject).objects.select_for_update(no_key=True)
            get_object_or_404(about, pk=page.subject.pk)
            page = get_object_or_404(ReaderPage.objects.select_for_update(), pk=pk)
            page.switch_on()
            audit.record(request, "reader.renew", page.subject, server=page.server_name)
        messages.success(request, _("The page has a new link. The old one does not work any more."))
        return redirect(page)
    context = {"page": page, "confirm": _("Make a new link"), "danger": page.on}
    return render(request, "hosts/reader/renew.html", context | _back(page))


@get_or_post
def reader_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first, then takes the link back."""
    page = _page(pk)
    if request.method == "POST":
        with transaction.atomic():
            page.withdraw()
            audit.record(request, "reader.withdraw", page.subject, server=page.server_name)
        messages.success(request, _("The link is withdrawn: nobody sees the page any more."))
        return redirect(page)
    context = {"page": page, "confirm": _("Withdraw the link"), "danger": True}
    return render(request, "hosts/reader/withdraw.html", context | _back(page))


@get_or_post
def reader_announce(request: HttpRequest, pk: int) -> HttpResponse:
    """Announces a new pair to the readers of the page, or takes the announcement back."""
    page = _page(pk)
    if request.method == "POST" and "drop" in request.POST:
        with transaction.atomic():
            page.drop_announcement()
            audit.record(request, "reader.unannounce", page.subject)
        messages.success(request, _("The page announces no change any more."))
        return redirect(page)
    form = AnnounceForm(page, request.POST or None)
    if request.method == "POST" and form.is_valid():
        pair, day = form.cleaned_data["pair"], form.cleaned_data["day"]
        with transaction.atomic():
            page.announce(pair, day)
            audit.record(
                request, "reader.announce", page.subject,
                pair=pair.pk, sha256=pair.sha256, day=day.isoformat(),
            )  # fmt: skip
        messages.success(request, _("The page now announces the change."))
        return redirect(page)
    context = {"page": page, "form": form, "planned": page.planned_pair()}
    return render(request, "hosts/reader/announce.html", context | _back(page))


def _page(pk: int) -> ReaderPage:
    rows = ReaderPage.objects.select_related("host__pair", "pair", "next_pair")
    return get_object_or_404(rows, pk=pk)


def _back(page: ReaderPage) -> dict[str, str]:
    return {"cancel_url": page.get_absolute_url()}
