"""The page that makes a pair; it is here because it may install the pair at once."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from certs.judgement import Judgement
from certs.models import Pair
from certs.spec import PairSpec
from hosts import deploy, judging
from hosts.choosing import HostChoice
from hosts.forms import InstallPairForm
from hosts.models import Deployment
from hosts.views import present
from xmailadmin import celery
from xmailadmin.models import User

LONGEST_NUMBER = 18  # digits that every database can compare


@require_http_methods(("GET", "HEAD", "POST"))
def pair_new(request: HttpRequest) -> HttpResponse:
    """Asks what the pair shall contain, has it made and, if wanted, installed.

    `?from=<pair>` offers that pair's values, `?host=<host>` chooses hosts to install it on.
    """
    if request.method != "POST":
        like, last = _numbered(request.GET.get("from", "")), _last(request)
        form = InstallPairForm(initial=_initial(request, like, last))
        return _page(request, form, str(_newest(request)), like or last)
    form = InstallPairForm(request.POST)
    if not form.is_valid() or form.spec is None:
        return _page(request, form, request.POST.get("after", ""))
    judgement = judging.judge_spec(
        form.spec, form.chosen() if form.cleaned_data["install_now"] else ()
    )
    if "judge" in request.POST or not judging.is_accepted(request, judgement):
        return _page(request, form, request.POST.get("after", ""), judgement=judgement)
    try:
        with transaction.atomic():
            hosts = list(form.chosen()) if form.cleaned_data["install_now"] else []
            deploy.held(hosts)  # before the audit, as everywhere
            # One request of a person at a time: a form that is sent twice is then seen to be.
            User.objects.select_for_update(no_key=True).get(username=request.user.get_username())
            if (made := _made_by_this_form(request, form)) is not None:
                messages.info(request, _("This form was sent before; the pair was not made twice."))
                return redirect(made)
            pair = Pair.objects.request(form.spec, by=request, memo=form.cleaned_data["memo"])
            deployment: Deployment | None = None
            if hosts:
                deployment = deploy.create_deployment(pair, hosts, by=request)
            transaction.on_commit(lambda: celery.ring("certs.tasks.make_pair", pair.pk))
    except deploy.HostGone as refusal:
        form.add_error("which", present.say(refusal.message))
        return _page(request, form, request.POST.get("after", ""))
    return redirect(deployment or pair)


def _page(
    request: HttpRequest,
    form: InstallPairForm,
    after: str,
    like: Pair | None = None,
    judgement: Judgement | None = None,
) -> HttpResponse:
    refused = [field for field in form.visible_fields() if field.errors]
    refused.sort(key=lambda field: field.name in HostChoice.base_fields)  # as on the page
    context = {
        "form": form,
        "after": after,
        "like": like,
        "refused": refused,
        "judgement": judgement,
        "judged": judging.mark_of(judgement),
        "held": "judge" not in request.POST,
    }
    return render(request, "hosts/pair_new.html", context)


def _newest(request: HttpRequest) -> int:
    """Returns the number of the newest pair that this person had asked for, 0 for none."""
    return (
        Pair.objects.filter(created_by__username=request.user.get_username()).aggregate(
            pk=Max("pk")
        )["pk"]
        or 0
    )


def _made_by_this_form(request: HttpRequest, form: InstallPairForm) -> Pair | None:
    """Returns the pair that the same form has made before: it was asked for since the form was
    shown, by the same person and with the same values."""
    after = _number(request.POST.get("after", ""))
    if after is None or form.spec is None:
        return None
    since = Pair.objects.filter(
        created_by__username=request.user.get_username(),
        pk__gt=after,
        memo=form.cleaned_data["memo"],
    ).exclude(status=Pair.Status.FAILED)
    wanted = form.spec.to_json()
    return next((pair for pair in since.order_by("-pk")[:10] if pair.spec == wanted), None)


def _initial(request: HttpRequest, like: Pair | None, last: Pair | None) -> dict[str, Any]:
    """Returns what the form offers: the last values, or those of another pair."""
    initial: dict[str, Any] = {}
    if last is not None:
        initial |= InstallPairForm.values_of(PairSpec.from_json(last.spec))
    if like is not None:
        initial |= _values_of(like)
    if hosts := request.GET.getlist("host"):
        initial |= {"hosts": hosts, "install_now": True}
    return initial


def _values_of(pair: Pair) -> dict[str, Any]:
    if pair.spec:
        return InstallPairForm.values_of(PairSpec.from_json(pair.spec)) | {"memo": pair.memo}
    others = [name for name in pair.names.splitlines() if name != pair.common_name]
    return {"common_name": pair.common_name, "aliases": " ".join(others), "email": ""}


def _last(request: HttpRequest) -> Pair | None:
    """Returns what this person asked for last, or else anybody: the next pair is often alike."""
    made = Pair.objects.filter(origin=Pair.Origin.ISSUED).exclude(spec={}).order_by("-pk")
    return made.filter(created_by__username=request.user.get_username()).first() or made.first()


def _numbered(raw: str) -> Pair | None:
    number = _number(raw)
    return None if number is None else Pair.objects.filter(pk=number).first()


def _number(raw: str) -> int | None:
    usable = raw.isascii() and raw.isdecimal() and len(raw) <= LONGEST_NUMBER
    return int(raw) if usable else None
