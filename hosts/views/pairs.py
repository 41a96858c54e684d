"""The page that makes a pair; it is here because it may install the pair at once."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from certs.models import Pair
from certs.spec import PairSpec
from hosts import deploy
from hosts.forms import InstallPairForm
from xmailadmin import celery
from xmailadmin.models import User


@require_http_methods(("GET", "HEAD", "POST"))
def pair_new(request: HttpRequest) -> HttpResponse:
    """Asks what the pair shall contain, has it made and, if wanted, installed."""
    if request.method != "POST":
        form = InstallPairForm(initial=_last_values(request))
        return render(request, "hosts/pair_new.html", {"form": form})
    form = InstallPairForm(request.POST)
    if not form.is_valid() or form.spec is None:
        return render(request, "hosts/pair_new.html", {"form": form})
    by = request.user if isinstance(request.user, User) else None
    with transaction.atomic():
        pair = Pair.objects.request(form.spec, by=by, memo=form.cleaned_data["memo"])
        deployment = None
        if form.cleaned_data["install_now"]:
            deployment = deploy.create_deployment(pair, form.chosen(), by=request)
        transaction.on_commit(lambda: celery.ring("certs.tasks.make_pair", pair.pk))
    return redirect(deployment or pair)


def _last_values(request: HttpRequest) -> dict[str, Any]:
    """Returns what this person wrote last, or else anybody: the next pair is often alike."""
    made = Pair.objects.filter(origin=Pair.Origin.ISSUED).exclude(spec={}).order_by("-pk")
    last = made.filter(created_by=request.user.pk).first() or made.first()
    return dict(InstallPairForm.values_of(PairSpec.from_json(last.spec))) if last else {}
