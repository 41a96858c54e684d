"""Registering many hosts from a file."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from hosts import importing, turns
from hosts.host_form import Taken
from hosts.secret_fields import SecretFields

SHOWN = 200  # rows


class UploadForm(forms.Form):
    """The file."""

    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        help_text=gettext_lazy("At most 600 kB, in UTF-8 or Shift_JIS."),
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv", "class": "form-control"}),
    )


class SecretsForm(SecretFields):
    """What the portal logs in with on every remote host of the file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = _(
            "Better none for CTRL: whoever breaks into one host can use the portal's log-in there "
            "to get into every other CTRL host with the same user and password. Give each of them "
            "a password of its own, on its page."
        )


@require_http_methods(("GET", "HEAD", "POST"))
def host_import(request: HttpRequest) -> HttpResponse:
    """Takes a file, shows what is in it with every problem, and registers all of it or nothing."""
    if request.method != "POST":
        return _page(request)
    confirmed = request.POST.get("text")
    try:
        sheet = importing.check(_uploaded(request) if confirmed is None else confirmed)
    except importing.Unreadable as problem:
        return _page(request, problem=str(problem))
    secrets = SecretsForm(request.POST if confirmed is not None else None)
    if confirmed is not None and sheet.good and secrets.is_valid():
        try:
            hosts = importing.save(sheet, secrets.cleaned_data, by=request)
        except Taken:
            sheet = importing.check(confirmed)
        else:
            turns.ring_for_looks([host.pk for host in hosts])
            told = ngettext(
                "%(count)s host is registered.", "%(count)s hosts are registered.", len(hosts)
            )
            messages.success(request, told % {"count": len(hosts)})
            return redirect("host_list")
    return _page(request, sheet=sheet, secrets=secrets)


def _uploaded(request: HttpRequest) -> str:
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        raise importing.Unreadable(" ".join(map(str, form.errors["file"])))
    file = form.cleaned_data["file"]
    # One byte more than is allowed is enough to see that it is too much.
    return importing.decode(file.read(importing.MAX_BYTES + 1))


def _page(
    request: HttpRequest,
    *,
    sheet: importing.Sheet | None = None,
    secrets: SecretsForm | None = None,
    problem: str = "",
) -> HttpResponse:
    context: dict[str, Any] = {
        "form": UploadForm(),
        "problem": problem,
        "sheet": sheet,
        "secrets": secrets,
        "columns": importing.COLUMNS,
        "most": importing.MAX_ROWS,
    }
    if sheet is not None:
        shown = sorted(sheet.rows, key=lambda row: not row.problems)[:SHOWN]
        context |= {
            "rows": sorted(shown, key=lambda row: row.line),
            "hidden": max(0, len(sheet.rows) - SHOWN),
            "import_label": ngettext(
                "Register %(count)s host", "Register %(count)s hosts", len(sheet.rows)
            )
            % {"count": len(sheet.rows)},
        }
    return render(request, "hosts/host_import.html", context)


@require_safe
def host_import_template(request: HttpRequest) -> HttpResponse:
    """A file to fill in."""
    return HttpResponse(
        importing.template(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="hosts.csv"'},
    )
