"""Finds out whether anybody tampered with the audit."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from xmailadmin import audit, audit_note, audit_seal
from xmailadmin.audit_words import PROBLEMS
from xmailadmin.commands import PortalCommand
from xmailadmin.models import AuditEntry


class Command(PortalCommand):
    help = "Verify the audit: every entry as it was written, none missing, none added."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--remember",
            action="store_true",
            help="then take the end of the audit as it is now for the right one: on a new machine, "
            "or after the database was restored by other means than the restore command",
        )

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        problems = list(audit.verify())
        entries = AuditEntry.objects.count()
        for problem in problems:
            self.say(PROBLEMS[problem.code] % {"number": problem.number})
        if {problem.code for problem in problems} - {"unnoted"}:
            self.stderr.write("The audit was tampered with.")
        elif not problems:
            self.say(f"The audit is complete and unchanged: {entries} entries.")
        found = [{"number": problem.number, "code": problem.code} for problem in problems]
        told: dict[str, Any] = {"entries": entries, "problems": found}
        if options["remember"]:
            codes = {problem.code for problem in problems}
            if "odd" in codes:
                audit_note.save_mended()
            if "unsealed" in codes:
                self.say("The end of the audit gets a new seal, with a new key.")
                audit_seal.renew(whatever=True)
            audit_note.remember()
            audit.record(None, "audit.remember", problems=len(problems))
            end = audit_note.head()
            told["remembered"] = end.number
            self.say(f"The data directory remembers entry {end.number} as the end from now on.")
        return told, bool(problems) and not options["remember"]
