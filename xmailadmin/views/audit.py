"""The pages of the audit, for administrators."""

from __future__ import annotations

from itertools import islice

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from xmailadmin import audit
from xmailadmin.audit_words import PROBLEMS
from xmailadmin.filters import AuditFilter, chosen
from xmailadmin.models import AuditEntry
from xmailadmin.tables import PAGE, AuditTable, configure

__all__ = ["audit_export", "audit_list", "audit_verify"]

PROBLEMS_SHOWN = 20


@require_safe
def audit_list(request: HttpRequest) -> HttpResponse:
    """Who did what and what was refused, the newest first; searched and filtered."""
    found = AuditFilter(request.GET, queryset=AuditEntry.objects.all())
    table = AuditTable(found.qs)
    configure(request, table, PAGE)
    context = {
        "table": table,
        "form": found.form,
        "filtered": bool(chosen(found)),
        "query": request.GET.urlencode(),
    }
    try:
        return render(request, "audit/audit_list.html", context)
    except audit.UNREADABLE:
        problems = _problems()
        if not problems:  # it was not the audit
            raise
        context |= {"table": None, "problems": problems}
        return render(request, "audit/audit_list.html", context)


def _problems() -> list[str]:
    """Returns what is wrong with the chain in words, the first of it."""
    found = islice(audit.verify(), PROBLEMS_SHOWN)
    return [PROBLEMS[problem.code] % {"number": problem.number} for problem in found]


@require_POST
def audit_verify(request: HttpRequest) -> HttpResponse:
    """Goes through the whole chain and says what is wrong with it."""
    problems = _problems()
    entry = audit.record(request, "audit.verify", problems=len(problems))
    for problem in problems:
        messages.error(request, problem)
    if not problems:
        text = _("The audit is complete and unchanged: %(count)s entries.")
        messages.success(request, text % {"count": entry.number - 1})
    return redirect("audit_list")


@require_safe
def audit_export(request: HttpRequest) -> HttpResponse:
    """The entries that the search finds, the oldest first, as JSON Lines."""
    found = AuditFilter(request.GET, queryset=AuditEntry.objects.all())
    rows = found.qs.order_by("number")
    try:
        lines = [f"{audit.as_json(entry)}\n".encode() for entry in rows.iterator(chunk_size=2000)]
    except audit.UNREADABLE:
        messages.error(
            request,
            _("Nothing was exported: some of these entries cannot be read. Verify the audit."),
        )
        return redirect("audit_list")
    audit.record(request, "audit.export", entries=len(lines))
    name = f"audit-{timezone.now():%Y%m%dT%H%M%SZ}.jsonl"
    return HttpResponse(
        b"".join(lines),
        content_type="application/jsonl; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )
