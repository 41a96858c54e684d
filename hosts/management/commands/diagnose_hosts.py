"""Looks at hosts and says what they hold, are configured to do and really serve."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from hosts.management.deploying import DeployingCommand
from hosts.models import Diagnosis
from hosts.reports import findings_json


class Command(DeployingCommand):
    help = "Diagnose hosts. Exit status 0 whenever it could look, whatever it found."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("hosts", nargs="*", metavar="HOST", help="default: all, not disabled")

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        found: list[dict[str, Any]] = []
        hosts = self.hosts(options["hosts"])
        kept = Diagnosis.objects.take(hosts)
        for diagnosis in kept:
            rows = findings_json(diagnosis)
            found += rows
            for row in rows:
                remedy = f" {row['remedy']}" if row["remedy"] else ""
                self.say(f"{row['host']}: {row['level'].upper()} - {row['message']}{remedy}")
        seen = {diagnosis.host_id for diagnosis in kept}
        not_kept = [host.name for host in hosts if host.pk not in seen]
        for name in not_kept:
            self.say(
                f"{name}: it was changed, deleted or looked at anew meanwhile, so what was found "
                "is not kept. Look again."
            )
        return {"findings": found, "not_kept": not_kept}, False
