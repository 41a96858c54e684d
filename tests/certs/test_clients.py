"""Which notes fit a certificate, copies kept with history, loading, and the pages."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from certs import clients, note_snapshots, pair
from certs.facts import CertificateFacts
from certs.issue import issue
from certs.models import ClientNote, NoteSnapshot
from certs.shipped_notes import load_notes, read_notes, shipped_files, unload_notes
from certs.spec import PairSpec
from tests.people import person, sign_in
from xmailadmin.escaping import escaped

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
VERIFY = "証明書を検証すると×"
WARNING = "最初の接続でセキュリティ警告が出るがそのまま続行可能"

# The original page, line by line: client, mark and remark for SMTP, the same for POP3.
ORIGINAL = {
    "Windows XP": [
        ("Becky!(試用版)", "△", VERIFY, "△", VERIFY),
        ("EdMax(フリー版)", "△", VERIFY, "△", VERIFY),
        ("Mozilla Thunderbird", "△", WARNING, "△", WARNING),
        ("nPOP", "△", VERIFY, "△", VERIFY),
        ("Outlook(Office2003)", "△", WARNING, "△", f"{WARNING}、TCP/110は×"),
        ("Outlook Express(6)", "△", WARNING, "△", f"{WARNING}、TCP/110は×"),
        ("秀丸メール", "△", VERIFY, "△", VERIFY),
    ],
    "Windows Vista": [
        ("Becky!(試用版)", "△", VERIFY, "△", VERIFY),
        ("EdMax(フリー版)", "×", "非SSLのみ利用可", "×", "非SSLのみ利用可"),
        ("Mozilla Thunderbird", "△", WARNING, "△", WARNING),
        ("nPOP", "△", VERIFY, "△", VERIFY),
        ("Outlook(Office2007)", "△", WARNING, "△", WARNING),
        ("Windowsメール", "△", WARNING, "△", f"{WARNING}、TCP/110は×"),
        ("秀丸メール", "△", VERIFY, "△", VERIFY),
    ],
}

# What was measured with a self-signed RSA-2048 certificate with SAN: marks for SMTP and POP3.
MEASURED = {
    "thunderbird": ("△", "△"),
    "claws-mail": ("△", "△"),
    "sylpheed": ("△", "△"),
    "alpine": ("△", "△"),
    "mutt": ("△", "△"),
    "neomutt": ("△", "△"),
    "s-nail": ("△", "△"),
    "msmtp": ("△", "–"),
    "mpop": ("–", "△"),
    "fetchmail": ("–", "△"),
    "getmail6": ("–", "◎×"),
    "curl": ("△", "△"),
    "swaks": ("◎", "–"),
    "python-no-context": ("◎", "◎"),
    "python-default-context": ("△", "△"),
    "nodemailer": ("△", "–"),
    "node-pop3": ("–", "△×"),
    "perl-net": ("△", "△"),
    "javax-mail": ("△", "△"),
    "gnutls-cli": ("△", "△"),
    "openssl-s-client": ("◎", "◎"),
}


@pytest.fixture(scope="module")
def certificate() -> CertificateFacts:
    raw: dict[str, Any] = {
        "country": "JP", "state": "Tokyo", "locality": "Shibuya-ku", "organization": "Xmail Co.",
        "common_name": "mail.dojo.jp", "aliases": "dojo.jp *.soopoo.jp", "key_size": "rsa-2048",
        "days": "825",
    }  # fmt: skip
    return pair.facts(issue(PairSpec.parse(raw), NOW).certificate_pem)


def signs(entries: Iterable[clients.Entry]) -> str:
    return "".join(entry.sign for entry in entries)


@pytest.mark.django_db
class TestShippedNotes:
    @pytest.mark.parametrize("os", ORIGINAL)
    def test_the_original_tables_are_complete(self, os: str) -> None:
        with translation.override("ja"):
            (table,) = clients.tables(ClientNote.objects.filter(os=os))
            found = [
                (
                    f"{row.client_name}({row.version})" if row.version else row.client_name,
                    signs(row.smtp), row.smtp[0].remark, signs(row.pop3), row.pop3[0].remark,
                )
                for row in table.rows
            ]  # fmt: skip
        assert table.historical
        assert found == ORIGINAL[os]
        assert ClientNote.objects.filter(os=os).count() == 14

    def test_the_original_remarks_in_english(self) -> None:
        remarks = Counter(
            ClientNote.objects.filter(source="seed").values_list("remark_en", flat=True)
        )
        warning = "A security warning appears at the first connection; the user can continue."
        assert remarks == {
            "× when it verifies the certificate.": 14,
            warning: 9,
            f"{warning} × on TCP/110.": 3,
            "Usable only without SSL.": 2,
        }

    def test_the_current_set_has_the_measured_marks(self) -> None:
        notes = clients.notes_of_kinds([clients.DEFAULT_KIND]).filter(historical=False)
        (table,) = clients.tables(notes)
        assert {r.client_slug: (signs(r.smtp), signs(r.pop3)) for r in table.rows} == MEASURED

    def test_every_run_is_kept(self) -> None:
        notes = ClientNote.objects.filter(historical=False)
        runs = [run for note in notes for run in note.results]
        assert notes.count() == 597
        assert Counter(note.sign for note in notes) == {"△": 445, "◎": 87, "×": 58, "–": 7}
        assert len(runs) == 1774
        assert Counter(run["result"] for run in runs) == {"ok": 891, "fail": 883}
        assert Counter(run["verify"] for run in runs) == {
            "trusted": 694,
            "default": 590,
            "off": 490,
        }
        assert {note.measured_on for note in notes} == {date(2026, 11, 24)}

    def test_a_mark_follows_from_its_runs(self) -> None:
        for note in ClientNote.objects.exclude(results=[]):
            worked = {run["verify"] for run in note.results if run["result"] == "ok"}
            expected = "good" if "default" in worked else "partial" if worked else "none"
            assert note.mark == expected, note.key
            # A client that only works with a setting says which.
            assert bool(note.setting_en) == bool(worked - {"default"}), note.key

    def test_which_clients_refuse_a_trusted_certificate(self) -> None:
        refused: dict[str, set[str]] = {}
        for note in ClientNote.objects.exclude(results=[]):
            trusted = [run["result"] for run in note.results if run["verify"] == "trusted"]
            if trusted and "ok" not in trusted:
                refused.setdefault(note.certificate_kind, set()).add(note.client_slug)
        assert refused["nosan"] == refused["sanca"] == {"thunderbird"}
        assert not {"self-signed-san", "private-ca", "ecdsa", "rsa-4096"} & set(refused)
        assert not refused["mismatch"] & {"swaks", "javax-mail", "msmtp", "mutt", "neomutt"}
        assert not refused["expired"] & {"javax-mail", "msmtp", "mutt", "neomutt"}
        assert {"curl", "thunderbird", "claws-mail"} <= refused["expired"] & refused["mismatch"]

    def test_both_languages_are_complete(self) -> None:
        for note in ClientNote.objects.all():
            assert note.remark_en, note.key
            assert note.remark_ja, note.key
            assert bool(note.setting_en) == bool(note.setting_ja), note.key
            assert note.setting_en.count("\n") == note.setting_ja.count("\n"), note.key

    def test_the_measured_notes_have_one_style_in_japanese(self) -> None:
        """The portal's words, and plain verbs; the original page's notes are quoted as they are."""
        other = re.compile(
            "(サーバ|ユーザ|メーラ)ー|(です|ます|ください|必要|有効|失敗|未計測)[。()]"
        )
        for note in ClientNote.objects.exclude(source="seed"):
            assert not other.search(note.remark_ja + note.setting_ja), note.key
            assert note.remark_ja[-1:] in ("。", ""), note.key


@pytest.mark.django_db
class TestLoading:
    @pytest.mark.parametrize("path", shipped_files(), ids=lambda path: path.stem)
    def test_loading_again_changes_nothing(self, path: Path) -> None:
        before = list(ClientNote.objects.values())
        done = load_notes(path)
        assert (done.created, done.updated, done.kept) == (0, 0, 0)
        assert list(ClientNote.objects.values()) == before

    def test_a_note_that_the_team_edited_stays(self, tmp_path: Path) -> None:
        path = copy_of("original_page", tmp_path, lambda note: note.update(mark="none"))
        rows = ClientNote.objects.filter(source="seed")
        rows.filter(key="windows-xp-npop-smtp").update(mark="good", edited_at=timezone.now())
        done = load_notes(path)
        assert done.kept == 1
        assert rows.get(key="windows-xp-npop-smtp").mark == "good"
        assert set(rows.exclude(edited_at=None).values_list("key", flat=True)) == {
            "windows-xp-npop-smtp"
        }
        assert set(rows.filter(edited_at=None).values_list("mark", flat=True)) == {"none"}
        assert done.updated == 25  # the two for EdMax on Vista were × before

    def test_a_new_note_is_added(self, tmp_path: Path) -> None:
        path = copy_of("original_page", tmp_path, lambda note: note.update(key=f"x-{note['key']}"))
        assert load_notes(path).created == 28
        assert ClientNote.objects.filter(source="seed").count() == 56

    def test_unloading_leaves_what_the_team_edited(self) -> None:
        ClientNote.objects.filter(key="windows-xp-npop-smtp").update(edited_at=timezone.now())
        for path in shipped_files():
            unload_notes(path)
        assert [note.key for note in ClientNote.objects.all()] == ["windows-xp-npop-smtp"]

    def test_the_migration_goes_back_and_forth(self) -> None:
        migration = import_module("certs.migrations.0002_client_notes")
        apps = SimpleNamespace(get_model=lambda *_: ClientNote)
        migration.unload(apps, None)
        assert not ClientNote.objects.exists()
        migration.load(apps, None)
        assert ClientNote.objects.count() == 625

    def test_keys_are_unique_and_fit(self) -> None:
        keys = [note["key"] for path in shipped_files() for note in read_notes(path)]
        assert len(keys) == len(set(keys)) == 625
        assert max(map(len, keys)) <= 120


def copy_of(name: str, folder: Path, change: Any) -> Path:
    """A shipped file in `folder`, every note changed."""
    (source,) = [path for path in shipped_files() if path.stem == name]
    data = json.loads(source.read_text(encoding="utf-8"))
    for note in data["notes"]:
        change(note)
    path = folder / source.name
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


class TestKinds:
    def kinds(self, facts: CertificateFacts, **more: Any) -> tuple[str, ...]:
        return clients.kinds_of(facts, now=NOW, **more)

    def test_what_the_portal_makes(self, certificate: CertificateFacts) -> None:
        assert self.kinds(certificate) == ("self-signed-san",)

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"key_label": "EC P-256", "key_size": 256}, ("ecdsa",)),
            ({"key_label": "RSA 4096", "key_size": 4096}, ("rsa-4096",)),
            ({"key_label": "RSA 1024", "key_size": 1024}, ("rsa-1024", "rsa-1024-seclevel1")),
            ({"is_ca": True}, ("sanca",)),
            ({"extensions": ()}, ("nosan",)),
            ({"self_signed": False}, ("private-ca",)),
            ({"not_after": NOW - timedelta(seconds=1)}, ("expired",)),
            ({"not_after": NOW - timedelta(1), "self_signed": False}, ("expired", "private-ca")),
            ({"key_label": "EC P-256", "extensions": ()}, ("nosan", "ecdsa")),
        ],
    )
    def test_what_is_found(
        self, certificate: CertificateFacts, changes: dict[str, Any], expected: tuple[str, ...]
    ) -> None:
        assert self.kinds(replace(certificate, **changes)) == expected

    @pytest.mark.parametrize("name", ["mail.dojo.jp", "DOJO.jp.", "www.soopoo.jp"])
    def test_a_name_that_fits(self, certificate: CertificateFacts, name: str) -> None:
        assert self.kinds(certificate, host_names=[name]) == ("self-signed-san",)

    @pytest.mark.parametrize("name", ["www.dojo.jp", "a.b.soopoo.jp", "soopoo.jp"])
    def test_a_name_that_does_not_fit(self, certificate: CertificateFacts, name: str) -> None:
        assert self.kinds(certificate, host_names=["dojo.jp", name]) == ("mismatch",)


@pytest.mark.django_db
class TestSnapshots:
    def test_equal_notes_are_kept_once(self, certificate: CertificateFacts) -> None:
        first = note_snapshots.snapshot_for(certificate, now=NOW)
        assert note_snapshots.snapshot_for(certificate, now=NOW) == first
        other = note_snapshots.snapshot_for(replace(certificate, is_ca=True), now=NOW)
        assert other != first
        assert NoteSnapshot.objects.count() == 2

    def test_a_snapshot_stays_as_it_was(self, certificate: CertificateFacts) -> None:
        before = note_snapshots.snapshot_for(certificate, now=NOW)
        ClientNote.objects.filter(client_slug="thunderbird").update(mark="good", remark_en="Fine.")
        after = note_snapshots.snapshot_for(certificate, now=NOW)
        assert after.pk != before.pk
        old = {n.mark for n in note_snapshots.notes_in(before) if n.client_slug == "thunderbird"}
        new = {n.mark for n in note_snapshots.notes_in(after) if n.client_slug == "thunderbird"}
        assert (old, new) == ({"partial"}, {"good"})

    def test_its_tables_are_those_of_the_time(self, certificate: CertificateFacts) -> None:
        snapshot = note_snapshots.snapshot_for(certificate, now=NOW)
        snapshot.refresh_from_db()
        then, now = note_snapshots.notes_in(snapshot), clients.notes_for(certificate, now=NOW)
        assert clients.tables(then) == clients.tables(now)
        assert [(t.os, t.historical) for t in clients.tables(then)] == [
            ("Debian 12", False), ("Windows XP", True), ("Windows Vista", True),
        ]  # fmt: skip

    def test_without_a_certificate_it_is_empty(self) -> None:
        assert note_snapshots.notes_in(note_snapshots.snapshot_for(None)) == []


@pytest.fixture
def browser(client: Client) -> Client:
    sign_in(client, person("viewer"))
    return client


@pytest.mark.django_db
class TestPages:
    def tables(self, browser: Client, **choices: str) -> list[clients.Table]:
        context = browser.get("/clients/", choices).context
        return [*context["current_tables"], *context["historical_tables"]]

    def test_everything_is_there_at_first(self, browser: Client) -> None:
        found = self.tables(browser)
        assert {table.os: len(table.rows) for table in found} == {
            "Debian 12": 21, "Windows XP": 7, "Windows Vista": 7,
        }  # fmt: skip

    def test_only_current(self, browser: Client) -> None:
        assert [table.os for table in self.tables(browser, current="on")] == ["Debian 12"]

    def test_by_operating_system(self, browser: Client) -> None:
        (table,) = self.tables(browser, os="Windows Vista")
        assert len(table.rows) == 7

    def test_by_client(self, browser: Client) -> None:
        found = self.tables(browser, client="thunderbird")
        assert [[row.client_slug for row in table.rows] for table in found] == [["thunderbird"]] * 3

    def test_by_protocol(self, browser: Client) -> None:
        response = browser.get("/clients/", {"protocol": "POP3"}, headers={"accept-language": "en"})
        (table, *_) = response.context["current_tables"]
        assert not any(row.smtp for row in table.rows)
        assert "Receiving (POP3)" in response.content.decode()
        assert "Sending (SMTP)" not in response.content.decode()

    def test_by_kind(self, browser: Client) -> None:
        (table,) = self.tables(browser, kind="nosan", client="thunderbird", current="on")
        (row,) = table.rows
        assert signs(row.smtp) == "△"
        assert "SSL_ERROR_BAD_CERT_DOMAIN" in row.smtp[0].remark

    def test_an_expired_certificate_has_no_historical_notes(self, browser: Client) -> None:
        assert [table.os for table in self.tables(browser, kind="expired")] == ["Debian 12"]

    def test_every_kind_has_a_row_of_its_own(self, browser: Client) -> None:
        (table,) = self.tables(browser, kind="all", current="on")
        thunderbird = [row.kind for row in table.rows if row.client_slug == "thunderbird"]
        assert thunderbird == [
            "self-signed-san", "sanca", "nosan", "mismatch", "expired", "private-ca", "ecdsa",
            "rsa-4096", "rsa-1024", "rsa-1024-seclevel1",
        ]  # fmt: skip

    def test_unknown_choices_do_not_narrow(self, browser: Client) -> None:
        response = browser.get("/clients/", {"os": "BeOS", "kind": "<script>", "client": "\0"})
        assert response.status_code == 200
        assert len(response.context["current_tables"][0].rows) == 21
        assert b"<script>" not in response.content.replace(b"<script src", b"")

    def test_nothing_fits(self, browser: Client) -> None:
        choices = {"os": "Windows XP", "current": "on"}
        response = browser.get("/clients/", choices, headers={"accept-language": "en"})
        assert not response.context["current_tables"] + response.context["historical_tables"]
        assert "No note fits these filters" in response.content.decode()

    @pytest.mark.parametrize(
        ("language", "texts"),
        [
            ("en", ["Usable only without SSL.", "× on TCP/110.", "trial version"]),
            ("ja", ["非SSLのみ利用可", "TCP/110は×", "試用版", "秀丸メール", "Windowsメール"]),
        ],
    )
    def test_remarks_in_the_readers_language(
        self, browser: Client, language: str, texts: list[str]
    ) -> None:
        response = browser.get("/clients/", headers={"accept-language": language})
        for text in texts:
            assert text in response.content.decode()

    @pytest.mark.parametrize(
        "address", ["/clients/", "/clients/?kind=all", "/clients/thunderbird/", "/clients/becky/"]
    )
    def test_the_number_of_queries_does_not_grow(
        self, browser: Client, address: str, django_assert_max_num_queries: Any
    ) -> None:
        with django_assert_max_num_queries(8):  # session, person, roles, choices, notes, reports
            assert browser.get(address).status_code == 200

    def test_a_page_shows_what_to_set_and_every_run(self, browser: Client) -> None:
        response = browser.get("/clients/msmtp/", headers={"accept-language": "en"})
        page = response.content.decode()
        assert "tls_fingerprint" in page
        assert "msmtp: TLS certificate verification failed" in page
        assert sum(len(runs) for _, runs in response.context["measured"]) == 70

    def test_every_client_has_a_page(self, browser: Client) -> None:
        for slug in ClientNote.objects.order_by().values_list("client_slug", flat=True).distinct():
            assert browser.get(f"/clients/{slug}/").status_code == 200

    def test_an_unknown_client_is_not_found(self, browser: Client) -> None:
        assert browser.get("/clients/no-such-client/").status_code == 404

    def test_strangers_are_sent_to_the_log_in(self, client: Client) -> None:
        for address in ("/clients/", "/clients/thunderbird/"):
            assert client.get(address).status_code == 302


@pytest.mark.parametrize("path", shipped_files(), ids=lambda path: path.stem)
def test_shipped_notes_hold_nothing_that_moves_a_cursor(path: Path) -> None:
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            for each in value.values() if isinstance(value, dict) else value:
                yield from texts(each)

    found = [text for note in read_notes(path) for text in texts(note)]
    assert len(found) > 100
    assert [text for text in found if escaped(text, kept="\n") != text] == []
