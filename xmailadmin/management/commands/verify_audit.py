"""Finds out whether anybody tampered with the audit."""

from __future__ import annotations

from typing import Any

from xmailadmin import audit
from xmailadmin.audit_words import PROBLEMS
from xmailadmin.commands import PortalCommand
from xmailadmin.models import AuditEntry


class Command(PortalCommand):
    help = "Verify the audit: every entry as it was written, none missing, none added."

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        problems = list(audit.verify())
        entries = AuditEntry.objects.count()
        for problem in problems:
            self.say(PROBLEMS[problem.code] % {"number": problem.number})
        if problems:
            self.stderr.write("The audit was tampered with.")
        else:
            self.say(f"The audit is complete and unchanged: {entries} entries.")
        found = [{"number": problem.number, "code": problem.code} for problem in problems]
        return {"entries": entries, "problems": found}, bool(problems)
