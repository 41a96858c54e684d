"""Registers a host."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from hosts.host_form import HostForm, Taken
from hosts.models import Host
from hosts.reports import endpoints_json
from hosts.wording import word
from xmailadmin import audit, home
from xmailadmin.commands import PortalCommand

PORTS = ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrls")
PLAIN = (
    "name", "transport", "address", "port", "user", "mailroot", "os", "trust_fingerprint",
    "allow_plain_key", "jump", "memo",
)  # fmt: skip


class Command(PortalCommand):
    help = (
        "Register a host, after a look at it. For sftp and ctrl the fingerprint of the SSH host "
        "key or of the certificate has to be confirmed by --trust-fingerprint; without it the one "
        "that was met is shown, and nothing is sent to the host."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "--transport",
            required=True,
            choices=Host.Transport.values,
            help="a directory of this machine, SFTP, or CTRL, XMail's administration protocol",
        )
        parser.add_argument(
            "--address",
            default="127.0.0.1",
            metavar="A",
            help="host name or IP address, where its services are tried too (default 127.0.0.1)",
        )
        parser.add_argument(
            "--port", type=int, metavar="P", help="of SSH (default 22) or CTRL (default 6017)"
        )
        parser.add_argument("--user", default="", metavar="U", help="of SSH or CTRL")
        parser.add_argument("--password-file", metavar="F", help="password of that user")
        parser.add_argument("--key-file", metavar="F", help="private SSH key")
        parser.add_argument("--passphrase-file", metavar="F", help="of the private SSH key")
        parser.add_argument(
            "--mailroot",
            default="",
            metavar="PATH",
            help="the directory that holds XMail's server.tab",
        )
        parser.add_argument("--os", choices=Host.OS.values, default=Host.OS.UNIX)
        for name in PORTS:
            usual = getattr(Host(), f"{name}_port")
            parser.add_argument(
                f"--{name}-port",
                type=int,
                default=usual,
                metavar="N",
                help=f"default {usual}, 0 = off",
            )
        parser.add_argument(
            "--trust-fingerprint",
            default="",
            metavar="SHA256",
            help="of the SSH host key, or of the certificate that XMail presents now",
        )
        parser.add_argument(
            "--allow-plain-key",
            action="store_true",
            help="let the private key cross an unencrypted CTRL connection (first installation)",
        )
        parser.add_argument(
            "--jump", default="", metavar="USER@HOST", help="reach it through another SSH server"
        )
        parser.add_argument("--memo", default="", metavar="M", help="for your team only")

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        secrets = {
            name: self._secret(options[option])
            for name, option in (
                ("password", "password_file"), ("private_key", "key_file"),
                ("passphrase", "passphrase_file"),
            )
            if options[option]
        }  # fmt: skip
        ports = {f"{name}_port": options[f"{name}_port"] for name in PORTS}
        form = HostForm({name: options[name] for name in PLAIN} | ports | secrets)
        if not form.is_valid():
            return self._refusal(form), True
        try:
            host = self._add(form)
        except Taken:
            return self._refusal(form), True
        self.say(f"{host.name} is registered.")
        for message in form.found:
            self.say(word(message))
        services = endpoints_json(form.presented)
        for each in services:
            service = f"{each['name'].upper()} {each['port']}"
            self.say(f"{service}: {each['sha256']}" if each["sha256"] else each["message"])
        return {
            "host": {
                "id": host.pk,
                "name": host.name,
                "mailroot": host.mailroot,
                "trust_fingerprint": host.trust_fingerprint,
            },
            "found": [{"code": message.code, "message": word(message)} for message in form.found],
            "endpoints": services,
        }, False

    @transaction.atomic
    def _add(self, form: HostForm) -> Host:
        host = form.save()
        audit.record(None, "host.add", host, mailroot=host.mailroot, trusted=host.trust_fingerprint)
        return host

    def _refusal(self, form: HostForm) -> dict[str, Any]:
        """Says what is wrong, and how to go on with an identity that nobody has confirmed yet."""
        told: list[str] = [
            str(sentence) if field in {"__all__", "mailroot"} else f"{field}: {sentence}"
            for field, sentences in form.errors.items()
            for sentence in sentences
        ]
        met = form.offered_identity
        if met:
            told.append(f"    {form.shown_identity}")
            told.append("If this is the right server, repeat the command with the fingerprint:")
            told.append(f"    {self._again(met)}")
        self.stderr.write("\n".join(told))
        problem = form.inspection.problem if form.inspection is not None else None
        return {
            "error": " ".join(told),
            "host": None,
            "code": problem.code if problem is not None else "invalid",
            "errors": told,
            "identity": {"sha256": met, "shown": form.shown_identity} if met else None,
        }

    @staticmethod
    def _again(fingerprint: str) -> str:
        words = sys.argv[1:]
        if "--trust-fingerprint" in words:
            at = words.index("--trust-fingerprint")
            del words[at : at + 2]
        words = [word for word in words if not word.startswith("--trust-fingerprint=")]
        return shlex.join(["manage.py", *words, "--trust-fingerprint", fingerprint])

    def _secret(self, path: str) -> str:
        try:
            return home.given_text(Path(path)).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{path} cannot be read: {home.reason(error)}.")
