"""The lab reproduces what was measured, with the clients that this machine has."""

from __future__ import annotations

import base64
import io
import json
import os
import poplib
import smtplib
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from certs import pair
from certs.clients import GENERAL_KINDS, kinds_of
from certs.lab import names
from certs.lab.agreement import compare, known
from certs.lab.cases import CASES, Case, make_case
from certs.lab.dialogue import MESSAGE, PASSWORD, USER
from certs.lab.endpoint import Endpoint
from certs.lab.job import Call, Tool, Way
from certs.lab.names import Unreachable
from certs.lab.results import os_name, write_notes
from certs.lab.runs import Run, Target, installed, run_all, version_of
from certs.lab.tools import TOOLS
from certs.models import ClientNote, NoteChange
from certs.models.client_note import CertificateKind
from tests import servers

SAN = CertificateKind.SELF_SIGNED_SAN
HOST = "localhost"
BY_SLUG = {tool.slug: tool for tool in TOOLS}


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(SAN, HOST, datetime.now(UTC))


@pytest.fixture(scope="module")
def endpoint(case: Case) -> Iterator[Endpoint]:
    with Endpoint(case.key_pem, case.certificate_pem) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def target(case: Case, endpoint: Endpoint) -> Target:
    sha256 = pair.fingerprint_sha256(case.certificate_pem)
    return Target(endpoint, HOST, case.trust_pem, authority=False, sha256=sha256)


def tool_here(slug: str) -> Tool:
    tool = BY_SLUG[slug]
    if not installed([tool]):
        servers.missing(f"{tool.command} is not installed")
    return tool


def measured_version(slug: str) -> set[str]:
    notes = ClientNote.objects.filter(client_slug=slug, source="measured").order_by()
    return set(notes.values_list("version", flat=True))


@pytest.mark.django_db
@pytest.mark.parametrize("slug", BY_SLUG)
def test_it_agrees_with_what_was_measured(slug: str, target: Target) -> None:
    tool = tool_here(slug)
    runs = list(run_all([tool], target, ("SMTP", "POP3")))
    agreement = compare(SAN, runs)
    different = [(*run.place, run.ok, run.message) for run in agreement.different]
    if different and version_of(tool) not in measured_version(slug):
        pytest.skip(f"{slug} {version_of(tool)} is another version and differs: {different}")
    assert different == []
    assert agreement.same == len(runs) == len([p for p in known(SAN) if p[0] == slug and ran(p)])


def ran(place: tuple[str, ...]) -> bool:
    """What needs a person at the prompt is not run unattended."""
    return not place[4].startswith("prompt")


@pytest.fixture(scope="module")
def trusting(case: Case) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=case.trust_pem.decode())


class TestEndpoint:
    def connect(
        self, endpoint: Endpoint, context: ssl.SSLContext | None
    ) -> tuple[set[str], set[str]]:
        tls = context is not None
        with (
            endpoint.door("SMTP", implicit=False) as smtp,
            smtplib.SMTP(HOST, smtp.port, timeout=10) as server,
        ):
            if tls:
                server.starttls(context=context)
            server.login(USER, PASSWORD)
            server.sendmail(USER, [USER], "Subject: x\r\n\r\n.\r\n")
        with endpoint.door("POP3", implicit=False) as pop3:
            box = poplib.POP3(HOST, pop3.port, timeout=10)
            if tls:
                box.stls(context=context)
            box.user(USER)
            box.pass_(PASSWORD)
            assert b"\r\n".join(box.retr(1)[1]) + b"\r\n" == MESSAGE
            box.quit()
        return smtp.achieved, pop3.achieved

    def test_what_happens_inside_tls_counts(
        self, endpoint: Endpoint, trusting: ssl.SSLContext
    ) -> None:
        smtp, pop3 = self.connect(endpoint, trusting)
        assert smtp == {"greeted", "signed in", "mail"}
        assert pop3 == {"signed in", "mail"}

    def test_what_happens_in_clear_does_not(self, endpoint: Endpoint) -> None:
        assert self.connect(endpoint, None) == (set(), set())

    def test_a_wrong_password_is_refused(
        self, endpoint: Endpoint, trusting: ssl.SSLContext
    ) -> None:
        wrong = base64.b64encode(f"\0{USER}\0wrong".encode()).decode()
        with (
            endpoint.door("SMTP", implicit=True) as door,
            smtplib.SMTP_SSL(HOST, door.port, timeout=10, context=trusting) as server,
        ):
            server.ehlo()
            assert server.docmd("AUTH", "PLAIN")[0] == 501  # as XMail does
            assert server.docmd("AUTH", f"PLAIN {wrong}")[0] == 503
            assert door.achieved == {"greeted"}

    def test_a_pair_that_cannot_be_loaded_drops_the_connection(
        self, trusting: ssl.SSLContext
    ) -> None:
        weak = make_case(CertificateKind.RSA_1024, HOST, datetime.now(UTC))
        with Endpoint(weak.key_pem, weak.certificate_pem) as endpoint:
            assert not endpoint.usable
            with endpoint.door("SMTP", implicit=True) as door, pytest.raises(OSError):  # noqa: PT011
                smtplib.SMTP_SSL(HOST, door.port, timeout=10, context=trusting)
            with endpoint.door("SMTP", implicit=False) as door:
                server = smtplib.SMTP(HOST, door.port, timeout=10)
                with pytest.raises((OSError, smtplib.SMTPServerDisconnected)):
                    server.starttls(context=trusting)
                server.close()
        with Endpoint(weak.key_pem, weak.certificate_pem, seclevel1=True) as endpoint:
            assert endpoint.usable

    def test_the_key_is_in_no_file(
        self, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        load, seen = ssl.SSLContext.load_cert_chain, []

        def loading(context: ssl.SSLContext, certificate: str, key: str, **options: Any) -> None:
            seen.append((os.readlink(key).partition(":")[0], os.listdir(tmp_path)))
            load(context, certificate, key, **options)

        monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", loading)
        with Endpoint(case.key_pem, case.certificate_pem) as endpoint:
            assert endpoint.usable
        assert seen == [("/memfd", [])]


def test_what_a_client_says_is_kept_without_what_moves_a_cursor(
    target: Target, tmp_path: Path
) -> None:
    script = tmp_path / "client"
    script.write_text(
        "#!/bin/sh\nprintf 'version 1.\\0337\\033]0;x\\007 no\\033= luck\\n'\nexit 3\n"
    )
    script.chmod(0o700)
    tool = Tool(
        "fake", "Fake", str(script), ("SMTP",), (Way("default"),), lambda _job: Call([str(script)]),
        version=(), pattern="version (.*)",
    )  # fmt: skip
    assert version_of(tool) == "1.7]0;x no= luck"
    messages = [run.message for run in run_all([tool], target, ["SMTP"])]
    assert messages == ["version 1.7]0;x no= luck"] * 2


class TestCases:
    @pytest.mark.parametrize("kind", [kind for kind in CASES if kind != CertificateKind.RSA_4096])
    def test_each_is_of_its_kind(self, kind: CertificateKind) -> None:
        made = make_case(kind, HOST, datetime.now(UTC))
        assert kind in kinds_of(pair.facts(made.certificate_pem), host_names=[HOST])
        assert made.authority == (kind == CertificateKind.PRIVATE_CA)
        assert pair.matches(made.key_pem, made.certificate_pem)

    def test_every_kind_that_was_measured_can_be_made(self) -> None:
        measured = {kind for kind in CertificateKind if known(kind)} - set(GENERAL_KINDS)
        assert measured == set(CASES)


class TestNames:
    def test_loopback_needs_nothing(self, tmp_path: Path) -> None:
        assert names.environment(HOST, tmp_path) == {}

    def test_another_name_is_led_to_loopback(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "libnss_wrapper.so").touch()
        monkeypatch.setattr(names, "WRAPPERS", (f"{tmp_path}/libnss_wrapper.so",))
        found = names.environment("mail.dojo.test", tmp_path)
        assert Path(found["NSS_WRAPPER_HOSTS"]).read_text() == "127.0.0.1 mail.dojo.test\n"

    def test_without_help_it_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(names, "WRAPPERS", (f"{tmp_path}/nothing.so",))
        with pytest.raises(Unreachable):
            names.environment("mail.dojo.test", tmp_path)


@pytest.mark.django_db
class TestNotes:
    WAYS = (("default", False), ("off", True), ("trusted", True))

    def runs(self, *ways: tuple[str, bool]) -> list[Run]:
        return [
            Run("curl", "SMTP", "starttls", Way(verify, f"set {verify}"), ok, "" if ok else "no")
            for verify, ok in ways
        ]

    def write(self, monkeypatch: pytest.MonkeyPatch, version: str, *ways: tuple[str, bool]) -> Any:
        monkeypatch.setattr("certs.lab.results.version_of", lambda _tool: version)
        monkeypatch.setattr("certs.lab.results.os_name", lambda: "Debian 12")
        return write_notes(SAN, self.runs(*ways), BY_SLUG)

    def note(self, version: str) -> ClientNote:
        return ClientNote.objects.get(
            client_slug="curl", version=version, protocol="SMTP", security="starttls",
            certificate_kind=SAN,
        )  # fmt: skip

    def test_what_is_as_it_was_is_confirmed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = self.write(monkeypatch, "7.88.1", *self.WAYS)
        assert (done.added, done.confirmed, done.corrected) == (0, 1, 0)
        note = self.note("7.88.1")
        assert note.confirmed_on is not None
        assert note.edited_at is None
        assert NoteChange.objects.get().action == "measured"

    def test_a_new_version_gets_the_words_of_the_old_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.write(monkeypatch, "99.0", *self.WAYS).added == 1
        new, old = self.note("99.0"), self.note("7.88.1")
        assert (new.source, new.mark) == ("measured", "partial")
        assert (new.remark_ja, new.setting_en) == (old.remark_ja, old.setting_en)
        assert new.measured_on != date(2026, 1, 1)
        assert [run["verify"] for run in new.results] == ["default", "off", "trusted"]
        assert NoteChange.objects.get().by_name == "system"

    def test_a_new_version_that_differs_gets_plain_words(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.write(monkeypatch, "99.0", ("default", False), ("off", False), ("trusted", True))
        note = self.note("99.0")
        assert (note.mark, note.setting_en) == ("partial", "set trusted")
        assert note.remark_en == "It works when the certificate is trusted."

    def test_what_changed_is_corrected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = self.write(monkeypatch, "7.88.1", ("default", True))
        assert done.corrected == 1
        note = self.note("7.88.1")
        assert note.mark == "good"
        assert {run["verify"] for run in note.results} == {"default", "off", "trusted"}
        change = NoteChange.objects.get()
        assert change.before is not None
        assert change.before["mark"] == "partial"

    def test_what_a_person_edited_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ClientNote.objects.update(edited_at=datetime.now(UTC))
        assert self.write(monkeypatch, "7.88.1", ("default", True)).kept == 1
        assert self.note("7.88.1").mark == "partial"

    def test_the_operating_system_has_a_name(self) -> None:
        assert os_name()


@pytest.mark.django_db
class TestCommand:
    def run(self, *words: str) -> dict[str, Any]:
        out = io.StringIO()
        call_command("client_lab", *words, "--client", "python-no-context", "--json", stdout=out)
        found: dict[str, Any] = json.loads(out.getvalue())
        return found

    def test_it_tells_what_it_saw_and_writes_notes(self) -> None:
        found = self.run("--protocol", "SMTP")
        assert [(run["security"], run["ok"]) for run in found["runs"]] == [
            ("starttls", True),
            ("implicit", True),
        ]
        assert found["agreement"] == {"same": 2, "different": [], "new": 0}
        assert sum(found["notes"].values()) == 2
        assert NoteChange.objects.count() == 2

    def test_a_dry_run_writes_nothing(self) -> None:
        assert self.run("--protocol", "SMTP", "--dry-run")["notes"] is None
        assert not NoteChange.objects.exists()

    def test_files_can_be_given(self, case: Case, tmp_path: Path) -> None:
        key, certificate = tmp_path / "server.key", tmp_path / "server.cert"
        key.write_bytes(case.key_pem)
        certificate.write_bytes(case.certificate_pem)
        found = self.run("--files", str(key), str(certificate), "--protocol", "POP3", "--dry-run")
        assert {run["kind"] for run in found["runs"]} == {str(SAN)}
        with pytest.raises(CommandError, match="no pair"):
            self.run("--files", str(certificate), str(certificate))

    @pytest.mark.parametrize("words", [("--pair", "4711"), ("--files", "/no", "/no")])
    def test_what_cannot_be_found_is_said(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError):
            self.run(*words)
