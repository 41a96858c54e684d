"""Installs a pair on hosts and prints a line a host as it finishes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from certs.models import Pair
from hosts.deploy import HostGone, create_deployment
from hosts.judging import judge_pair
from hosts.management.deploying import DeployingCommand
from hosts.wording import word


class Command(DeployingCommand):
    help = "Install a pair on hosts. Exit status 1 if it failed on any of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("pair", type=int, metavar="PAIR", help="number of the pair")
        parser.add_argument("hosts", nargs="*", metavar="HOST", help="names of hosts")
        parser.add_argument("--all", action="store_true", help="every host that is not disabled")
        parser.add_argument(
            "--place-only", action="store_true", help="only put the pair into MailRoot/sslconf"
        )
        parser.add_argument("--first", metavar="HOST", help="must succeed before the others begin")
        parser.add_argument(
            "--stop-after", type=int, default=0, metavar="N", help="begin no host after N failures"
        )
        super().add_arguments(parser)

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        pair = Pair.objects.filter(pk=options["pair"]).first()
        if pair is None:
            self.fail(f"There is no pair {options['pair']}.")
        if not pair.pending and not pair.usable:
            self.fail(f"Pair {pair.pk} cannot be used by XMail, so it is not installed.")
        if options["stop_after"] < 0:
            self.fail("--stop-after must not be negative.")
        if options["all"] == bool(options["hosts"]):
            self.fail("Name the hosts, or give --all.")
        hosts = self.hosts(options["hosts"])
        first = None
        if options["first"]:
            first = next((host for host in hosts if host.name == options["first"]), None)
            if first is None:
                self.fail(f"--first {options['first']} is not among the hosts of the deployment.")
        warnings = self.warn(judge_pair(pair, hosts))
        try:
            deployment = create_deployment(
                pair, hosts, by=None, place_only=options["place_only"], first=first,
                stop_after=options["stop_after"],
            )  # fmt: skip
        except HostGone as error:
            self.fail(word(error.message))
        result, failed = self.deploy(deployment, no_wait=options["no_wait"], pair=pair)
        return result | {"warnings": warnings}, failed
