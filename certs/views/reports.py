"""Pages for what people tell about a client: the form, and the list that the team reviews."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.core.validators import slug_re
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from certs import note_changes
from certs.models import ClientNote, ClientReport
from certs.models.client_note import Mark, Source, Verify
from certs.note_forms import DismissForm, NoteForm, ReportForm
from xmailadmin import audit
from xmailadmin.models import User

GET_OR_POST = ("GET", "HEAD", "POST")
REPORTS_A_PAGE = 25
Status = ClientReport.Status


@require_http_methods(GET_OR_POST)
def report_new(request: HttpRequest) -> HttpResponse:
    """Tells that a client worked or did not; `?client=<slug>` fills in the client."""
    if request.method == "POST":
        form = ReportForm(request.POST)
        if form.is_valid():
            with transaction.atomic():
                report: ClientReport = form.save(commit=False)
                report.created_by = request.user if isinstance(request.user, User) else None
                report.reporter = request.user.get_username()
                report.save()
                audit.record(request, "report.add", report)
            messages.success(request, _("Thank you. The team will see your report."))
            return redirect("client_list")
    else:
        form = ReportForm(initial=_known(request.GET.get("client", "")))
    return render(request, "certs/report_form.html", {"form": form})


def _known(slug: str) -> dict[str, str]:
    # PostgreSQL refuses a query for what no text can hold.
    note = ClientNote.objects.filter(client_slug=slug).first() if slug_re.match(slug) else None
    return {} if note is None else {"client": note.client, "os": note.os}


@require_safe
def report_list(request: HttpRequest) -> HttpResponse:
    """The reports that wait for the team, or with `?status=` those that were reviewed."""
    status = request.GET.get("status", "")
    if status not in Status.values:
        status = Status.OPEN
    found = ClientReport.objects.filter(status=status).select_related("note", "reviewed_by")
    page = Paginator(found, REPORTS_A_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "status": status, "choices": Status.choices}
    return render(request, "certs/report_list.html", context)


@require_http_methods(GET_OR_POST)
@transaction.atomic
def report_accept(request: HttpRequest, pk: int) -> HttpResponse:
    """Makes a note of the report; the form offers what the report says."""
    report = get_object_or_404(ClientReport.objects.select_for_update(), pk=pk)
    if report.status != Status.OPEN:
        messages.info(request, _("This report was reviewed before."))
        return redirect("client_report_list")
    similar = _similar(report)
    if confirmed := [note for note in similar if str(note.pk) == request.POST.get("confirms")]:
        note = get_object_or_404(ClientNote.objects.select_for_update(), pk=confirmed[0].pk)
        report.note = note
        note_changes.confirm(note, by=request)
        _review(request, report, Status.ACCEPTED)
        messages.success(request, _("The report confirmed a note."))
        return redirect("client_note_detail", note.pk)
    form = NoteForm(request.POST) if request.method == "POST" else NoteForm(initial=_offer(report))
    if request.method == "POST" and form.is_valid():
        note = form.prepare()
        note_changes.keep(note, by=request, before=None)
        report.note = note
        _review(request, report, Status.ACCEPTED)
        messages.success(request, _("The report became a note."))
        return redirect("client_note_detail", note.pk)
    context = {"form": form, "note": None, "report": report, "similar": similar}
    return render(request, "certs/note_form.html", context)


def _offer(report: ClientReport) -> dict[str, object]:
    """Returns what a note made of the report would say."""
    if not report.worked:
        mark = Mark.NONE
    elif report.verify == Verify.DEFAULT and not report.setting:
        mark = Mark.GOOD
    else:
        mark = Mark.PARTIAL
    setting = report.setting
    if not setting and mark == Mark.PARTIAL:
        setting = str(report.get_verify_display())
    return {
        "client": report.client,
        "version": report.version,
        "os": report.os,
        "protocol": report.protocol,
        "security": report.security,
        "certificate_kind": report.certificate_kind,
        "mark": mark,
        "remark_en": report.message,
        "setting_en": setting,
        "source": Source.REPORTED,
        "source_detail": report.reporter,
        "measured_on": timezone.localtime(report.created_at).date(),
    }


def _similar(report: ClientReport) -> list[ClientNote]:
    """Returns the notes that the report may confirm or contradict."""
    return list(
        ClientNote.objects.filter(
            client__iexact=report.client, protocol=report.protocol, historical=False
        ).filter(certificate_kind=report.certificate_kind)[:6]
    )


@require_http_methods(GET_OR_POST)
@transaction.atomic
def report_dismiss(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks for the reason, then puts the report aside."""
    report = get_object_or_404(ClientReport.objects.select_for_update(), pk=pk)
    if report.status != Status.OPEN:
        messages.info(request, _("This report was reviewed before."))
        return redirect("client_report_list")
    form = DismissForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        report.reason = form.cleaned_data["reason"]
        _review(request, report, Status.DISMISSED)
        messages.success(request, _("The report was dismissed."))
        return redirect("client_report_list")
    return render(request, "certs/report_dismiss.html", {"form": form, "report": report})


def _review(request: HttpRequest, report: ClientReport, status: str) -> None:
    report.status = status
    report.reviewed_by = request.user if isinstance(request.user, User) else None
    report.reviewed_at = timezone.now()
    report.save()
    audit.record(request, f"report.{status}", report)
