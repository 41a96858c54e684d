"""Tries the mail clients of this machine with one certificate and notes what they do."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from certs import pair
from certs.clients import kinds_of
from certs.lab.agreement import Agreement, compare, known
from certs.lab.cases import CASES, Case, make_case
from certs.lab.endpoint import Endpoint
from certs.lab.job import Tool
from certs.lab.names import Unreachable, check
from certs.lab.results import Written, write_notes
from certs.lab.runs import Run, Target, installed, run_all, version_of
from certs.lab.tools import TOOLS
from certs.models import Pair
from certs.models.client_note import CertificateKind, Protocol
from certs.names import Refused, normalise_name
from xmailadmin import home
from xmailadmin.commands import PortalCommand
from xmailadmin.vault import VaultError

LOCAL_NAME = "localhost"


class Command(PortalCommand):
    help = (
        "Serves a certificate on loopback as XMail would, runs the mail clients of this machine "
        "against it with verification as installed, off and with the certificate trusted, and "
        "writes what they do as measured client notes. Without a pair it makes a certificate."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--pair", type=int, metavar="PAIR", help="the number of a pair")
        what.add_argument(
            "--files", nargs=2, metavar=("KEY", "CERT"), help="server.key and server.cert"
        )
        what.add_argument(
            "--case",
            action="append",
            choices=[str(kind) for kind in CASES],
            help="a kind of certificate to make and try; may be repeated",
        )
        what.add_argument("--all-cases", action="store_true", help="every kind, one after another")
        parser.add_argument("--name", help="the host name that the clients use")
        parser.add_argument("--trust-file", help="the certificate to trust, if not the pair's own")
        parser.add_argument(
            "--client",
            action="append",
            choices=[tool.slug for tool in TOOLS],
            help="only this client; may be repeated",
        )
        parser.add_argument(
            "--protocol", choices=Protocol.values, help="only sending or only receiving"
        )
        parser.add_argument("--dry-run", action="store_true", help="write no notes")

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        tools = installed(t for t in TOOLS if t.slug in (options["client"] or [t.slug]))
        if not tools:
            self.fail(_("None of these clients is installed on this machine."))
        protocols = [options["protocol"]] if options["protocol"] else Protocol.values
        total, done, runs = Agreement(), Written(), []
        for case, name in self._cases(options):
            self.say(f"\n{CertificateKind(case.kind).label} · {name}")
            found = self._try(case, name, tools, protocols)
            total.add(compare(case.kind, found))
            runs += [self._shown(case.kind, run) for run in found]
            if not options["dry_run"]:
                written = write_notes(case.kind, found, {tool.slug: tool for tool in tools})
                done = Written(*map(sum, zip(_numbers(done), _numbers(written), strict=True)))
        self._sum_up(total, None if options["dry_run"] else done)
        result = {
            "runs": runs,
            "clients": {tool.slug: version_of(tool) for tool in tools},
            "agreement": {
                "same": total.same,
                "different": [list(run.place) for run in total.different],
                "new": total.new,
            },
            "notes": None if options["dry_run"] else asdict(done),
        }
        return result, bool(total.different)

    # --- What is tried ------------------------------------------------------------------------

    def _cases(self, options: dict[str, Any]) -> Iterable[tuple[Case, str]]:
        if options["pair"] is not None or options["files"]:
            yield self._given(options)
            return
        kinds = options["case"] or [CertificateKind.SELF_SIGNED_SAN]
        name = options["name"] or LOCAL_NAME
        self._check(name)
        for kind in CASES if options["all_cases"] else kinds:
            yield make_case(kind, name, datetime.now(UTC)), name

    def _given(self, options: dict[str, Any]) -> tuple[Case, str]:
        key, certificate = self._files(options)
        state = pair.check(key, certificate)
        try:
            facts = pair.facts(certificate)
        except ValueError:
            self.fail(_("The certificate cannot be read."))
        if state.code not in ("ok", "weak_key", "weak_signature"):
            self.fail(_("Key and certificate are no pair that can be served."))
        name = options["name"] or _usual_name(facts.names)
        if not name:
            self.fail(_("The certificate holds no host name; give one with --name."))
        self._check(name)
        trust = certificate
        if options["trust_file"]:
            trust = self._read(options["trust_file"])
        kinds = kinds_of(facts, host_names=[name]) or (CertificateKind.SELF_SIGNED,)
        return Case(kinds[0], key, certificate, trust, authority=bool(options["trust_file"])), name

    def _files(self, options: dict[str, Any]) -> tuple[bytes, bytes]:
        if options["files"]:
            key, certificate = options["files"]
            return self._read(key), self._read(certificate)
        row = Pair.objects.filter(pk=options["pair"]).first()
        if row is None:
            self.fail(_("There is no pair with this number."))
        try:
            secret = row.private_key()
        except VaultError as error:
            self.fail(str(error))
        if secret is None or not row.certificate_pem:
            self.fail(_("This pair is not complete."))
        return secret, row.certificate_pem

    def _read(self, path: str) -> bytes:
        try:
            return home.given(Path(path), pair.MOST_BUNDLE)
        except OSError as error:
            self.fail(f"{path} cannot be read: {home.reason(error)}.")

    def _check(self, name: str) -> None:
        try:
            normalise_name(name)  # what is no name leads nowhere
            check(name)
        except (Refused, Unreachable):
            self.fail(
                _(
                    "The name %(name)s does not lead to this machine. Install the package "
                    "libnss-wrapper, or give a name that does with --name."
                )
                % {"name": name}
            )

    # --- What came of it ----------------------------------------------------------------------

    def _try(self, case: Case, name: str, tools: list[Tool], protocols: Iterable[str]) -> list[Run]:
        found = []
        with Endpoint(case.key_pem, case.certificate_pem, seclevel1=case.seclevel1) as endpoint:
            sha256 = pair.fingerprint_sha256(case.certificate_pem)
            target = Target(endpoint, name, case.trust_pem, case.authority, sha256)
            for run in run_all(tools, target, protocols):
                found.append(run)
                self.say(self._line(case.kind, run))
        return found

    def _line(self, kind: str, run: Run) -> str:
        way = f"{run.way.verify} {run.way.variant}".strip()
        words = {None: _("new"), run.ok: _("as known"), not run.ok: _("DIFFERS")}
        agrees = words[known(kind).get(run.place)]
        verdict = "ok" if run.ok else "fail"
        place = f"{run.slug:<23} {run.protocol} {run.security:<8} {way:<16}"
        return f"{place} {verdict:<5} {agrees:<9} {run.message}".rstrip()

    def _shown(self, kind: str, run: Run) -> dict[str, Any]:
        return {
            "kind": str(kind),
            "client": run.slug,
            "protocol": run.protocol,
            "security": run.security,
            "verify": run.way.verify,
            "variant": run.way.variant,
            "setting": run.way.setting,
            "ok": run.ok,
            "message": run.message,
            "known": known(kind).get(run.place),
        }

    def _sum_up(self, total: Agreement, done: Written | None) -> None:
        self.say("")
        self.say(
            _(
                "%(same)s runs came out as they were measured before, %(different)s did not, "
                "%(new)s are new."
            )
            % {"same": total.same, "different": len(total.different), "new": total.new}
        )
        if done is None:
            self.say(_("No notes were written."))
            return
        self.say(
            _(
                "Notes: %(added)s added, %(confirmed)s confirmed, %(corrected)s corrected, "
                "%(kept)s kept as a person had edited them."
            )
            % asdict(done)
        )


def _usual_name(names: Iterable[str]) -> str:
    """Returns the first name that a person would enter, `mail.` in place of a wildcard."""
    for name in names:
        if any(char.isalpha() for char in name) and ":" not in name:
            return name.replace("*.", "mail.", 1)
    return ""


def _numbers(written: Written) -> tuple[int, ...]:
    return tuple(asdict(written).values())
