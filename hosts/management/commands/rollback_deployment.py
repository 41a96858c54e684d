"""Undoes a deployment on every host that it changed last."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from hosts.deploy import Refused, left_out, rollback_deployment
from hosts.management.deploying import DeployingCommand
from hosts.models import Deployment
from hosts.wording import word


class Command(DeployingCommand):
    help = "Roll every host of a deployment back to the pair that it held before."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deployment", type=int, metavar="ID", help="number of the deployment")
        parser.add_argument(
            "--remove", action="store_true", help="take the pair away if there was none before"
        )
        super().add_arguments(parser)

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        deployment = Deployment.objects.filter(pk=options["deployment"]).first()
        if deployment is None:
            self.fail(f"There is no deployment {options['deployment']}.")
        try:
            again = rollback_deployment(deployment, by=None, remove=options["remove"])
        except Refused as error:
            self.fail(word(error.message))
        elsewhere = [row.host_name for row in left_out(deployment)]
        if elsewhere and not self.json:
            self.stderr.write(f"Left out, at another place by now: {', '.join(elsewhere)}")
        result, failed = self.deploy(again, no_wait=options["no_wait"])
        return {**result, "left_out": elsewhere}, failed
