"""What the commands share that begin a deployment and wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser

from certs.judgement import Judgement
from certs.models import Pair
from hosts import ledger
from hosts.models import Deployment, Host, Installation
from hosts.reports import installation_json, installation_line, pair_json
from xmailadmin import home
from xmailadmin.commands import PortalCommand

__all__ = ["DeployingCommand"]


class DeployingCommand(PortalCommand):
    """Does a deployment in this process, whether or not a portal is running."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-wait", action="store_true", help="return at once and let the portal do it"
        )

    def hosts(self, names: Sequence[str]) -> list[Host]:
        """Returns the named hosts, or without names all that are not disabled."""
        if not names:
            found = list(Host.objects.filter(disabled=False))
            if not found:
                where = home.directory()
                self.fail(f"No host is registered in {where}. Register one with add_host.")
            return found
        by_name = {host.name: host for host in Host.objects.filter(name__in=names)}
        if unknown := [name for name in names if name not in by_name]:
            self.fail(f"No host of this name is registered: {', '.join(unknown)}.")
        if disabled := [name for name in names if by_name[name].disabled]:
            self.fail(f"This host is disabled: {', '.join(disabled)}. Enable it first.")
        return [by_name[name] for name in dict.fromkeys(names)]

    def warn(self, judgement: Judgement | None) -> list[str]:
        """Returns what mail clients will have trouble with, after saying it on stderr."""
        concerns = judgement.concerns if judgement is not None else ()
        warnings = [concern.text for concern in concerns if concern.level != "info"]
        if not self.json:
            for warning in warnings:
                self.stderr.write(f"Warning: {warning}")
        return warnings

    def deploy(
        self, deployment: Deployment, *, no_wait: bool = False, pair: Pair | None = None
    ) -> tuple[dict[str, Any], bool]:
        """Returns what came of the deployment, after saying it host by host."""
        failed = False
        if no_wait:
            self.say(f"Deployment {deployment.pk} is asked for; a running portal does it.")
        else:
            self.say(f"Deployment {deployment.pk}:")
            for row in ledger.work(deployment):
                failed = failed or row.status not in Installation.GOOD
                self.say(installation_line(row))
        rows = deployment.installations.order_by("pk")
        result: dict[str, Any] = {
            "deployment": deployment.pk,
            "installations": [installation_json(row) for row in rows],
        }
        if pair is not None:
            pair.refresh_from_db()
            result["pair"] = pair_json(pair)
        return result, failed
