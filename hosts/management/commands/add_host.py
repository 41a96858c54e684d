"""Registers a host."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.db import transaction

from hosts.models import Host
from hosts.registration import inspect
from hosts.wording import word
from xmailadmin import audit
from xmailadmin.commands import PortalCommand

PORTS = ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrls")


class Command(PortalCommand):
    help = "Register a host, after a look at its MailRoot."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--transport", required=True, choices=Host.Transport.values)
        parser.add_argument("--address", default="127.0.0.1", metavar="A")
        parser.add_argument("--port", type=int, metavar="P")
        parser.add_argument("--user", default="", metavar="U")
        parser.add_argument("--password-file", metavar="F")
        parser.add_argument("--key-file", metavar="F")
        parser.add_argument("--passphrase-file", metavar="F")
        parser.add_argument("--mailroot", default="", metavar="PATH")
        parser.add_argument("--os", choices=Host.OS.values, default=Host.OS.UNIX)
        for name in PORTS:
            parser.add_argument(
                f"--{name}-port",
                type=int,
                default=getattr(Host(), f"{name}_port"),
                metavar="N",
                help="0 = off",
            )
        parser.add_argument("--trust-fingerprint", default="", metavar="SHA256")
        parser.add_argument("--allow-plain-key", action="store_true")
        parser.add_argument("--jump", default="", metavar="USER@HOST")
        parser.add_argument("--memo", default="", metavar="M")

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        host = Host(
            **{
                name: options[name]
                for name in (
                    "name", "transport", "address", "port", "user", "mailroot", "os",
                    "trust_fingerprint", "allow_plain_key", "jump", "memo",
                )
            },
            **{f"{name}_port": options[f"{name}_port"] for name in PORTS},
        )  # fmt: skip
        try:
            host.full_clean()
        except ValidationError as error:
            told = error.message_dict.items()
            self.fail("\n".join(f"{name}: {' '.join(sentences)}" for name, sentences in told))
        secrets = {
            name: self._secret(options[option])
            for name, option in (
                ("password", "password_file"), ("private_key", "key_file"),
                ("passphrase", "passphrase_file"),
            )
            if options[option]
        }  # fmt: skip
        with transaction.atomic():
            host.save()
            host.keep_secrets(**secrets)
            inspection = asyncio.run(inspect(host.target()))
            if inspection.problem is not None:
                self.fail(word(inspection.problem))
            audit.record(None, "host.add", host)
        for message in inspection.found:
            self.say(word(message))
        return {
            "host": {"id": host.pk, "name": host.name, "mailroot": host.mailroot},
            "found": [
                {"code": message.code, "message": word(message)} for message in inspection.found
            ],
        }, False

    def _secret(self, path: str) -> str:
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{path} cannot be read: {error}.")
