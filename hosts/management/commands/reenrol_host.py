"""Looks at who a host is now, and trusts it when a person has compared it."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from hosts import identity, turns
from hosts.management.deploying import DeployingCommand
from hosts.messages import Message
from hosts.models import Host
from hosts.models.host import ChangedMeanwhile
from hosts.registration import shown_identity
from hosts.transports import normal_fingerprint
from hosts.wording import word


class Command(DeployingCommand):
    help = (
        "Show which SSH host key or certificate a host shows now. With --trust-fingerprint, and "
        "if it is that one, the portal trusts it from then on. Exit status 1 if another one than "
        "the trusted one was met."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("host", metavar="HOST")
        parser.add_argument(
            "--trust-fingerprint",
            default="",
            metavar="SHA256",
            help="trust this one, if the host shows it",
        )

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        (host,) = self.hosts([options["host"]])
        if host.transport == Host.Transport.LOCAL:
            self.fail(f"{host.name} is a directory of this machine and has no identity of its own.")
        wanted = normal_fingerprint(options["trust_fingerprint"])
        if wanted:
            met = asyncio.run(identity.confirm(host.target(), wanted))
            if met.problem is None:
                self._trust(host, wanted)
                met = replace(met, problem=asyncio.run(identity.log_in(host.target())))
        else:
            met = asyncio.run(identity.look(host.target()))
        good = bool(met.met) and met.met == host.trust_fingerprint
        if met.met:
            self.say(f"{host.name}: {shown_identity(host.transport, met.met)}")
        if met.problem is not None:
            self.stderr.write(word(met.problem))
        elif not good:
            self.stderr.write(
                "This is not the identity that the portal trusts. If it is the right server, run:\n"
                f"    manage.py reenrol_host {shlex.quote(host.name)} --trust-fingerprint {met.met}"
            )
        return {
            "host": host.name,
            "trusted": host.trust_fingerprint,
            "met": met.met,
            "code": met.problem.code if met.problem is not None else "",
        }, not good

    def _trust(self, host: Host, fingerprint: str) -> None:
        try:
            identity.trust(host, fingerprint, by=None)
        except (ChangedMeanwhile, Host.DoesNotExist):
            self.fail(word(Message("registration.changed_meanwhile")))
        except turns.Begun:
            self.fail(word(Message("registration.installing")))
