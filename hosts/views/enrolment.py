"""Registering a host, changing what is registered, and looking at who it is again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from certs.models import Pair
from hosts import identity, turns
from hosts.host_form import CONNECTION, HostForm, Taken
from hosts.messages import Message
from hosts.models import Host
from hosts.models.host import SECRETS, ChangedMeanwhile
from hosts.registration import Inspection, shown_identity
from hosts.transports import normal_fingerprint
from hosts.views import present
from hosts.views.hosts import awaiting
from hosts.waiting import wait_for
from hosts.wording import word
from xmailadmin import audit, celery
from xmailadmin.vault import VaultError

GET_OR_POST = ("GET", "HEAD", "POST")
CHANGED = Message("registration.changed_meanwhile")
BEGUN = Message("registration.installing")


@require_http_methods(GET_OR_POST)
def host_add(request: HttpRequest) -> HttpResponse:
    """Registers a host."""
    form = HostForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.created_by = request.user if request.user.is_authenticated else None
        try:
            host = _add(request, form)
        except Taken:
            return _page(request, form, None)
        celery.ring("hosts.tasks.diagnose_hosts", [host.pk])
        messages.success(request, _("%(host)s is registered.") % {"host": host.name})
        if form.found:
            messages.info(request, "\n".join(word(message) for message in form.found))
        return redirect(awaiting(host))
    return _page(request, form, None)


@transaction.atomic
def _add(request: HttpRequest, form: HostForm) -> Host:
    host = form.save()
    audit.record(request, "host.add", host, mailroot=host.mailroot, trusted=host.trust_fingerprint)
    return host


@require_http_methods(GET_OR_POST)
def host_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Changes what is registered about a host."""
    host = get_object_or_404(Host, pk=pk)
    form = HostForm(request.POST or None, instance=host)
    if request.method == "POST" and form.is_valid():
        try:
            _save(request, form)
        except (ChangedMeanwhile, Host.DoesNotExist):
            form.tell_changed(get_object_or_404(Host, pk=pk))
        except turns.Begun:
            form.add_error(None, word(BEGUN))
        except Taken:
            pass  # the form says so
        else:
            celery.ring("hosts.tasks.diagnose_hosts", [host.pk])
            messages.success(request, _("The changes are saved."))
            for remark in form.remarks:
                messages.info(request, word(remark))
            return redirect(awaiting(host))
    return _page(request, form, get_object_or_404(Host, pk=pk))


@transaction.atomic
def _save(request: HttpRequest, form: HostForm) -> None:
    changed = form.changed
    host = form.save()
    if way := [name for name in CONNECTION if name in changed]:
        before = {name: form.stored[name] for name in way}
        now = {name: getattr(host, name) for name in way}
        audit.record(request, "host.edit", host, fields=changed, before=before, now=now)
    else:
        audit.record(request, "host.edit", host, fields=changed)


@require_POST
def host_mailroot_check(request: HttpRequest) -> HttpResponse:
    """Says what is met at the host in the form of a new one; nothing is saved.

    Without htmx the answer is the whole form again, with everything that was typed but secrets.
    """
    return _checked(request, None)


@require_POST
def host_edit_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Says the same of a registered host, as it is in the form."""
    return _checked(request, get_object_or_404(Host, pk=pk))


def _checked(request: HttpRequest, host: Host | None) -> HttpResponse:
    form = HostForm(request.POST, instance=host)
    form.looks = "always"
    form.is_valid()
    return _page(request, form, host, checked=True)


def _page(
    request: HttpRequest, form: HostForm, host: Host | None, *, checked: bool = False
) -> HttpResponse:
    context = {
        "form": form,
        "host": host,
        "checked": checked,
        "live": present.is_live(request),
        "problems": _problems(form) if checked else [],
        **inspected(form.inspection),
        "offered": form.offered_identity if form.is_bound else "",
        "offered_shown": form.shown_identity if form.is_bound else "",
        "confirmed": _confirmed(form),
    }
    if form.is_bound:
        context["known"] = Pair.objects.filter(sha256=form.offered_identity or "-").first()
    if context["live"]:
        return render(request, "hosts/inspection.html", context)
    return render(request, "hosts/host_form.html", context)


def _confirmed(form: HostForm) -> str:
    """Returns the fingerprint that was confirmed earlier, for the form to send again."""
    if not form.is_bound or not form.cleaned_data.get("confirmed"):
        return ""
    return str(form.cleaned_data.get("trust_fingerprint") or "")


def inspected(found: Inspection | None) -> dict[str, Any]:
    """Returns what templates/hosts/inspection.html shows of a look at a host."""
    if found is None:
        return {"inspected": False}
    services, seen = [], set()
    for row in present.endpoints(result.to_json() for result in found.endpoints):
        services.append(replace(row, same=row.sha256 in seen))
        seen.add(row.sha256)
    return {
        "inspected": True,
        "found": [word(message) for message in found.found],
        "services": services,
    }


def _problems(form: HostForm) -> list[str]:
    """Returns what keeps the portal from looking at the host, or what is wrong there."""
    about = [str(error) for error in (*form.non_field_errors(), *form.errors.get("mailroot", ()))]
    for name in (*CONNECTION, *SECRETS):
        if name != "mailroot":
            about += [f"{form[name].label}: {error}" for error in form.errors.get(name, ())]
    return about


@require_http_methods(GET_OR_POST)
def host_reenrol(request: HttpRequest, pk: int) -> HttpResponse:
    """Shows whom the portal takes the host for, looks at who it is now, and trusts that one.

    What is stored is sent to the one that a person confirms when that is on record, not before. If
    the log-in fails then, the page says so, and the password or key can be corrected.
    """
    host = get_object_or_404(Host.objects.select_related("pair"), pk=pk)
    if host.transport == Host.Transport.LOCAL:
        return redirect(host)
    context: dict[str, Any] = {"host": host, "stored_shown": _shown(host, host.trust_fingerprint)}
    confirmed = normal_fingerprint(request.POST.get("confirmed", ""))
    try:
        if confirmed:
            outcome = wait_for(identity.confirm(host.target(), confirmed))
            if outcome.problem is None:
                identity.trust(host, confirmed, by=request)
                refused = wait_for(identity.log_in(host.target()))
                messages.success(request, _("%(host)s is trusted with this identity now.") % {
                    "host": host.name
                })  # fmt: skip
                if refused is not None:
                    messages.warning(request, word(refused))
                celery.ring("hosts.tasks.diagnose_hosts", [host.pk])
                return redirect(awaiting(host))
        elif request.method == "POST":
            outcome = wait_for(identity.look(host.target()))
        else:
            return render(request, "hosts/host_reenrol.html", context)
    except VaultError:
        messages.error(request, _("The secrets of this host cannot be opened."))
        return redirect(host)
    except (ChangedMeanwhile, Host.DoesNotExist, turns.Begun) as error:
        # Whoever was met, was met at another place, or with other secrets, than it has now.
        begun = isinstance(error, turns.Begun)
        outcome = identity.Meeting(problem=BEGUN if begun else CHANGED)
        host = get_object_or_404(Host.objects.select_related("pair"), pk=pk)
        context = {"host": host, "stored_shown": _shown(host, host.trust_fingerprint)}
    context |= {
        "looked": True,
        "problem": word(outcome.problem) if outcome.problem is not None else "",
        "met": outcome.met,
        "met_shown": _shown(host, outcome.met),
        "same": outcome.met == host.trust_fingerprint,
        "known": Pair.objects.filter(sha256=outcome.met or "-").first(),
    }
    return render(request, "hosts/host_reenrol.html", context)


def _shown(host: Host, sha256: str) -> str:
    return shown_identity(host.transport, sha256)
