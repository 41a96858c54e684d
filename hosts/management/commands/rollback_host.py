"""Puts back what a host held before its last change."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from hosts.deploy import Refused, rollback_host
from hosts.management.deploying import DeployingCommand
from hosts.wording import word


class Command(DeployingCommand):
    help = "Roll one host back to the pair that it held before."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("host", metavar="HOST")
        parser.add_argument(
            "--remove", action="store_true", help="take the pair away if there was none before"
        )
        super().add_arguments(parser)

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        (host,) = self.hosts([options["host"]])
        try:
            deployment = rollback_host(host, by=None, remove=options["remove"])
        except Refused as error:
            self.fail(word(error.message))
        return self.deploy(deployment, no_wait=options["no_wait"])
