"""Makes a pair, and installs it where asked to."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from certs.models import Pair
from certs.problems import explain
from certs.spec import PairSpec, SpecError
from hosts.deploy import HostGone, create_deployment, held
from hosts.judging import judge_spec
from hosts.management.deploying import DeployingCommand
from hosts.reports import pair_json
from hosts.wording import word


class Command(DeployingCommand):
    help = "Make a private key and a self-signed certificate."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--country", required=True, metavar="JP", help="two letters")
        parser.add_argument("--state", required=True, metavar="S", help="or prefecture")
        parser.add_argument("--locality", required=True, metavar="L")
        parser.add_argument("--organization", required=True, metavar="O")
        parser.add_argument("--unit", default="", metavar="U")
        parser.add_argument(
            "--common-name", required=True, metavar="CN", help="host name that mail programs use"
        )
        parser.add_argument(
            "--alias",
            action="append",
            default=[],
            metavar="A",
            help="another host name or IP address; may be repeated",
        )
        parser.add_argument("--email", default="", metavar="E")
        parser.add_argument("--key-type", choices=["rsa", "ec"], default="rsa")
        parser.add_argument(
            "--key-size", type=int, metavar="N", help="default for rsa 2048, for ec 256"
        )
        parser.add_argument(
            "--days", default="825", metavar="N", help="days valid, 825 at most (default)"
        )
        parser.add_argument("--memo", default="", metavar="M", help="for your team only")
        parser.add_argument(
            "--install",
            action="append",
            default=[],
            metavar="HOST",
            help="install it on this host at once; may be repeated",
        )
        super().add_arguments(parser)

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        default_size = 256 if options["key_type"] == "ec" else 2048
        try:
            spec = PairSpec.parse(
                {
                    **{
                        name: options[name]
                        for name in (
                            "country", "state", "locality", "organization", "common_name", "email",
                            "key_type", "days",
                        )
                    },
                    "organizational_unit": options["unit"],
                    "aliases": options["alias"],
                    "key_size": str(options["key_size"] or default_size),
                }
            )  # fmt: skip
        except SpecError as error:
            self.fail(*(f"{each.field}: {explain(each)}" for each in error.errors))
        hosts = self.hosts(options["install"]) if options["install"] else []
        warnings = self.warn(judge_spec(spec, hosts))
        try:
            with transaction.atomic():
                held(hosts)  # before the audit, as everywhere
                pair = Pair.objects.request(spec, by=None, memo=options["memo"])
                deployment = create_deployment(pair, hosts, by=None) if hosts else None
        except HostGone as error:
            self.fail(word(error.message))
        if options["no_wait"]:
            self.say(f"#{pair.pk} is asked for; a running portal makes it.")
        else:
            self._make(pair)
            self.say(f"#{pair.pk} {pair.common_name} SHA-256 {pair.sha256}")
        if deployment is None:
            return {"pair": pair_json(pair), "installations": [], "warnings": warnings}, False
        result, failed = self.deploy(deployment, no_wait=options["no_wait"], pair=pair)
        return result | {"warnings": warnings}, failed

    def _make(self, pair: Pair) -> None:
        """Makes the pair here, or waits for the worker that was quicker."""
        while True:
            pair.make()
            pair.refresh_from_db()
            if not pair.pending:
                break
            time.sleep(0.2)
        if pair.status == Pair.Status.FAILED:
            self.fail("The pair could not be made; the portal's log has the reason.")
