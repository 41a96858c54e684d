"""The pages of pairs: the list, one pair with everything about it, and its files to download."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from certs import pair as pem
from certs.filters import PairFilter
from certs.forms import MAX_MEMO
from certs.models import Pair
from certs.tables import PairTable
from certs.views import pair_page
from certs.views.pair_files import pair_certificate, pair_der, pair_key, pair_zip
from xmailadmin import audit
from xmailadmin.tables import PAGE, configure

__all__ = [
    "pair_certificate",
    "pair_der",
    "pair_detail",
    "pair_key",
    "pair_list",
    "pair_memo",
    "pair_progress",
    "pair_text",
    "pair_zip",
]

FILES = ("certificate", "certificate_sealed", "key_sealed")  # what no list needs to load


class MemoForm(forms.Form):
    """What the team notes down about a pair."""

    memo = forms.CharField(
        label=gettext_lazy("Memo"),
        max_length=MAX_MEMO,
        required=False,
        widget=forms.Textarea(attrs={"rows": "3", "class": "form-control"}),
    )


@require_safe
def pair_list(request: HttpRequest) -> HttpResponse:
    """Every pair, the newest first; searched, filtered and sorted."""
    found = PairFilter(request.GET, queryset=_listed())
    table = PairTable(found.qs)
    configure(request, table, PAGE)
    filtered = any(found.form.data.get(name) for name in found.filters)
    context = {
        "table": table,
        "form": found.form,
        "filtered": filtered,
        "empty": not filtered and not table.page.paginator.count,
    }
    return render(request, "certs/pair_list.html", context)


def _listed() -> QuerySet[Pair]:
    """Returns the pairs with the number of hosts that hold each, and without their files."""
    same = Pair.objects.filter(pk=OuterRef("pk")).order_by()
    count = same.annotate(number=Count("hosts")).values("number")
    return (
        Pair.objects.select_related("created_by")
        .defer(*FILES)
        .annotate(host_count=Subquery(count, output_field=IntegerField()))
    )


@require_safe
def pair_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One pair: every fact, where it is installed, its files, its memo, and what clients do."""
    return _detail(request, _pair(pk))


def _pair(pk: int) -> Pair:
    return get_object_or_404(Pair.objects.select_related("created_by"), pk=pk)


def _detail(request: HttpRequest, pair: Pair, memo_form: MemoForm | None = None) -> HttpResponse:
    context = pair_page.context(pair)
    context["memo_form"] = memo_form or MemoForm(initial={"memo": pair.memo})
    status = 422 if memo_form is not None else 200
    return render(request, "certs/pair_detail.html", context, status=status)


@require_safe
def pair_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page above that changes; it asks for itself until there is no more news."""
    pair = _pair(pk)
    if request.headers.get("HX-Request") != "true":
        return redirect(pair)
    if pair.pending:
        return render(request, "certs/partials/pair_making.html", pair_page.making(pair))
    if "making" in request.GET:
        return HttpResponseClientRedirect(pair.get_absolute_url())
    return render(request, "certs/partials/pair_installed.html", pair_page.installed(pair))


@require_safe
def pair_text(request: HttpRequest, pk: int) -> HttpResponse:
    """The full text view of the certificate and of those that follow it in the file."""
    pair = _pair(pk)
    try:
        text = pem.text(pair.certificate_pem or b"")
    except pem.PairError:
        raise Http404 from None
    return render(request, "certs/pair_text.html", {"pair": pair, "text": text})


@require_POST
def pair_memo(request: HttpRequest, pk: int) -> HttpResponse:
    """Keeps the memo as it was written."""
    pair = _pair(pk)
    form = MemoForm(request.POST)
    live = request.headers.get("HX-Request") == "true"
    saved = form.is_valid()
    if saved:
        pair.memo = form.cleaned_data["memo"]
        with transaction.atomic():
            pair.save(update_fields=["memo"])
            audit.record(request, "pair.memo", pair)
    if live:
        context = {"pair": pair, "memo_form": form, "saved": saved}
        return render(request, "certs/partials/pair_memo.html", context)
    if not saved:
        return _detail(request, pair, form)
    messages.success(request, _("The memo is saved."))
    return redirect(pair)
