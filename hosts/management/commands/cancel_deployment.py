"""Cancels a deployment on every host that it has not begun."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from hosts import deploy
from hosts.models import Deployment, Installation
from hosts.reports import installation_json, installation_line
from xmailadmin.commands import PortalCommand


class Command(PortalCommand):
    help = "Begin no further host of a deployment; a host that is begun is finished."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deployment", type=int, metavar="ID")

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        number = options["deployment"]
        deployment = Deployment.objects.filter(pk=number).first()
        if deployment is None:
            self.fail(f"There is no deployment {number}.")
        if deployment.finished:
            self.fail(f"Deployment {number} is finished already, so nothing was cancelled.")
        count = deploy.cancel(deployment, by=None)
        rows = list(deployment.installations.order_by("pk"))
        for row in rows:
            if row.status in Installation.UNFINISHED:
                self.say(f"{row.host_name}: begun already, and will be finished.")
            else:
                self.say(installation_line(row))
        self.say(f"Hosts that had not been begun and are cancelled: {count}.")
        return {
            "deployment": deployment.pk,
            "cancelled": count,
            "installations": [installation_json(row) for row in rows],
        }, False
