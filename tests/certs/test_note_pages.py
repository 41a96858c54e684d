"""Adding, correcting and confirming notes, reports and their review; every change is kept."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from certs import note_changes
from certs.models import ClientNote, ClientReport, NoteChange
from certs.names import normalise_lines
from certs.note_forms import slug_for
from certs.shipped_notes import load_notes, shipped_files
from tests.hosts.pages import text
from tests.people import person
from tests.portal import Portal
from xmailadmin.models import AuditEntry

pytestmark = pytest.mark.django_db
ENGLISH = {"accept-language": "en"}
NPOP = "windows-xp-npop-smtp"


@pytest.fixture
def browser(client: Client, django_user_model: Any) -> Client:
    client.force_login(django_user_model.objects.create_superuser("sato"))
    return client


def note_values(**changes: object) -> dict[str, object]:
    return {
        "client": "Becky!", "version": "2.81", "os": "Windows 11", "protocol": "POP3",
        "security": "implicit", "certificate_kind": "self-signed-san", "mark": "partial",
        "remark_ja": "初回に警告が出る。", "setting_ja": "「証明書を検証しない」にする。",
        "source": "measured", "measured_on": "2026-11-20",
    } | changes  # fmt: skip


def report_values(**changes: object) -> dict[str, object]:
    return {
        "client": "Outlook", "version": "2024", "os": "Windows 11", "protocol": "SMTP",
        "security": "starttls", "certificate_kind": "self-signed", "verify": "default",
        "worked": "no", "message": "0x800CCC1A",
    } | changes  # fmt: skip


class TestNotes:
    def test_a_note_is_added(self, browser: Client) -> None:
        response = browser.post("/clients/notes/new/", note_values())
        note = ClientNote.objects.get(version="2.81")
        assert response["Location"] == note.get_absolute_url()
        assert note.client_slug == "becky"  # the page of the client that was known
        assert note.key.startswith("own-windows-11-becky-281-pop3-")
        change = NoteChange.objects.get()
        assert change.note_name == "Becky! 2.81 (Windows 11) POP3 △"
        assert (change.action, change.by_name, change.before) == ("added", "sato", None)
        assert change.after is not None
        assert change.after["setting_ja"] == "「証明書を検証しない」にする。"
        assert AuditEntry.objects.filter(action="note.added").count() == 1
        page = browser.get("/clients/?os=Windows+11", headers={"accept-language": "ja"})
        assert "初回に警告が出る。" in page.content.decode()

    @pytest.mark.parametrize("stored", ["one\ntwo", "one\r\ntwo"])
    def test_saving_what_a_browser_sends_back_changes_nothing(
        self, browser: Client, stored: str
    ) -> None:
        browser.post("/clients/notes/new/", note_values(remark_ja="一\r\n二"))
        note = ClientNote.objects.get(version="2.81")
        assert note.remark_ja == "一\n二"
        ClientNote.objects.filter(pk=note.pk).update(setting_en=stored)
        form = browser.get(f"/clients/notes/{note.pk}/edit/").context["form"]
        sent = {name: value for name, value in form.initial.items() if value not in (None, False)}
        for name in ("remark_ja", "setting_en"):
            sent[name] = "\r\n".join(sent[name].splitlines())
        page = browser.post(
            f"/clients/notes/{note.pk}/edit/", sent, follow=True, headers=ENGLISH
        ).content.decode()
        assert "Nothing was changed." in page
        assert [change.action for change in NoteChange.objects.all()] == ["added"]
        assert not AuditEntry.objects.filter(action="note.corrected").exists()

    def test_measurements_are_told_in_words(self, browser: Client) -> None:
        note = ClientNote.objects.filter(results__0__verify="default").first()
        assert note is not None
        results = [
            {"verify": "default", "result": "fail", "message": "cat=1"},
            {"verify": "off", "result": "ok", "setting": "a box", "variant": "quick"},
        ]
        ClientNote.objects.filter(pk=note.pk).update(results=results)
        page = browser.get(note.get_absolute_url(), headers=ENGLISH).content.decode()
        assert "As installed · Failed · cat=1<br>" in page
        assert "Off, or the certificate accepted when asked · Worked · a box · quick" in page
        assert "default · fail" not in page

    def test_a_correction_keeps_what_was_before(self, browser: Client) -> None:
        note = ClientNote.objects.get(key=NPOP)
        form = browser.get(f"/clients/notes/{note.pk}/edit/").context["form"]
        data = {name: value for name, value in form.initial.items() if value is not None}
        data.pop("historical")
        response = browser.post(f"/clients/notes/{note.pk}/edit/", data | {"mark": "none"})
        assert response.status_code == 302
        note.refresh_from_db()
        assert (note.mark, note.historical) == ("none", False)
        assert note.edited_at is not None
        change = NoteChange.objects.get()
        before = {line.label: line.before for line in note_changes.differences(change)}
        assert len(before) == 2
        page = browser.get(note.get_absolute_url(), headers=ENGLISH).content.decode()
        assert "Corrected" in page
        assert "Works depending on a setting" in page
        (original,) = [path for path in shipped_files() if path.stem == "original_page"]
        assert load_notes(original).kept == 1

    def test_whether_mail_users_read_a_note_is_kept_with_its_history(self, browser: Client) -> None:
        note = ClientNote.objects.filter(source="measured").earliest("pk")
        assert note.for_mail_users  # it came with the portal
        like = browser.get(f"/clients/notes/new/?like={note.pk}").context["form"]
        assert "for_mail_users" not in like.initial
        form = browser.get(f"/clients/notes/{note.pk}/edit/").context["form"]
        data = {name: value for name, value in form.initial.items() if value not in (None, False)}
        data.pop("for_mail_users")
        browser.post(f"/clients/notes/{note.pk}/edit/", data)
        told = list(note_changes.differences(NoteChange.objects.get()))
        assert [(line.before, line.after) for line in told] == [("Yes", "No")]

    def test_nothing_changed_leaves_no_trace(self, browser: Client) -> None:
        note = ClientNote.objects.get(key=NPOP)
        form = browser.get(f"/clients/notes/{note.pk}/edit/").context["form"]
        data = {name: value for name, value in form.initial.items() if value is not None}
        browser.post(f"/clients/notes/{note.pk}/edit/", data)
        note.refresh_from_db()
        assert note.edited_at is None
        assert not NoteChange.objects.exists()

    def test_two_people_do_not_overwrite_each_other(self, browser: Client) -> None:
        note = ClientNote.objects.get(key=NPOP)
        form = browser.get(f"/clients/notes/{note.pk}/edit/").context["form"]
        data = {name: value for name, value in form.initial.items() if value is not None}
        other = ClientNote.objects.get(key=NPOP)
        before = note_changes.fields_of(other)
        other.remark_en = "Somebody was faster."
        note_changes.keep(other, by=None, before=before)
        response = browser.post(
            f"/clients/notes/{note.pk}/edit/", data | {"mark": "none"}, headers=ENGLISH
        )
        assert "Somebody else changed this note" in response.content.decode()
        note.refresh_from_db()
        assert note.mark == "partial"

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"client": ""}, "client"),
            ({"mark": "perfect"}, "mark"),
            ({"setting_ja": ""}, "setting_en"),
            ({"measured_on": ""}, "measured_on"),
            ({"measured_on": "2999-01-01"}, "measured_on"),
            ({"source": "seed"}, "source"),
            ({"measured_on": "yesterday"}, "measured_on"),
            ({"setting_en": "\0", "setting_ja": ""}, "setting_en"),
            ({"setting_ja": "\0"}, "setting_ja"),
        ],
    )
    def test_what_is_missing_is_said(
        self, browser: Client, changes: dict[str, object], field: str
    ) -> None:
        response = browser.post("/clients/notes/new/", note_values(**changes))
        assert response.status_code == 200
        assert list(response.context["form"].errors) == [field]
        assert not NoteChange.objects.exists()

    def test_a_note_for_another_version_starts_from_this_one(self, browser: Client) -> None:
        note = ClientNote.objects.get(key=NPOP)
        initial = browser.get(f"/clients/notes/new/?like={note.pk}").context["form"].initial
        assert (initial["client"], initial["mark"]) == ("nPOP", "partial")
        assert "version" not in initial
        assert browser.get("/clients/notes/new/?like=x").status_code == 200

    def test_only_own_notes_can_be_removed(self, browser: Client) -> None:
        shipped = ClientNote.objects.get(key=NPOP)
        assert browser.post(f"/clients/notes/{shipped.pk}/remove/").status_code == 404
        browser.post("/clients/notes/new/", note_values())
        note = ClientNote.objects.get(version="2.81")
        assert browser.get(f"/clients/notes/{note.pk}/remove/").status_code == 200
        browser.post(f"/clients/notes/{note.pk}/remove/")
        assert not ClientNote.objects.filter(pk=note.pk).exists()
        removed, added = NoteChange.objects.all()
        assert (removed.action, removed.note, added.note) == ("removed", None, None)
        assert removed.before == added.after
        assert browser.get("/clients/changes/").status_code == 200

    def test_a_viewer_is_offered_no_change(self, client: Client) -> None:
        client.force_login(person("viewer"))
        note = ClientNote.objects.get(key=NPOP)
        for address in ("/clients/", "/clients/npop/", note.get_absolute_url()):
            page = client.get(address).content.decode()
            assert "/edit/" not in page
            assert "/confirm/" not in page
            assert "notes/new" not in page

    @pytest.mark.parametrize(
        ("name", "slug"),
        [("BECKY!", "becky"), ("秀丸メール", "hidemaru-mail"), ("Reports", "reports-")],
    )
    def test_the_page_of_a_client(self, name: str, slug: str) -> None:
        assert slug_for(name).startswith(slug)

    def test_a_name_without_latin_letters_has_a_page(self) -> None:
        assert slug_for("電信八号") == slug_for("電信八号")
        assert slug_for("電信八号").startswith("client-")


class TestAgeing:
    @pytest.fixture(autouse=True)
    def _years_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        day = datetime(2028, 1, 10, 12, tzinfo=UTC)
        monkeypatch.setattr(timezone, "now", lambda: day)

    def test_a_note_that_nobody_confirmed_ages(self, browser: Client) -> None:
        (table,) = browser.get("/clients/", {"ageing": "on"}).context["current_tables"]
        assert len(table.rows) == 21
        assert not browser.get("/clients/", {"ageing": "on"}).context["historical_tables"]

    def test_the_age_is_configurable(self, browser: Client, settings: Any) -> None:
        settings.NOTE_AGE_DAYS = 1000
        assert not browser.get("/clients/", {"ageing": "on"}).context["current_tables"]

    def test_confirming_makes_it_current_again(self, browser: Client) -> None:
        note = ClientNote.objects.filter(client_slug="curl").first()
        assert note is not None
        browser.post(f"/clients/notes/{note.pk}/confirm/")
        (table,) = browser.get("/clients/", {"ageing": "on"}).context["current_tables"]
        assert len(table.rows) == 21  # curl has more notes than this one
        note.refresh_from_db()
        assert not note.ageing
        assert (note.confirmed_on, note.edited_at) == (date(2028, 1, 10), None)
        assert NoteChange.objects.get().action == "confirmed"

    def test_a_whole_client_is_confirmed_at_once(self, browser: Client) -> None:
        browser.post("/clients/curl/confirm/")
        assert not any(note.ageing for note in ClientNote.objects.filter(client_slug="curl"))
        assert NoteChange.objects.count() == ClientNote.objects.filter(client_slug="curl").count()
        assert browser.post("/clients/nothing/confirm/").status_code == 404

    def test_the_page_says_since_when(self, browser: Client) -> None:
        note = ClientNote.objects.filter(client_slug="curl").first()
        assert note is not None
        page = text(browser.get(note.get_absolute_url(), headers=ENGLISH))
        assert "Nobody has confirmed this note since 2026-11-24." in page


class TestReports:
    def report(self, browser: Client, **changes: object) -> ClientReport:
        assert browser.post("/clients/reports/new/", report_values(**changes)).status_code == 302
        return ClientReport.objects.latest("pk")

    def test_a_report_waits_for_review(self, browser: Client) -> None:
        report = self.report(browser)
        assert (report.status, report.reporter, report.worked) == ("open", "sato", False)
        page = browser.get("/clients/reports/", headers=ENGLISH).content.decode()
        assert "0x800CCC1A" in page
        assert "1 report waits" in browser.get("/clients/", headers=ENGLISH).content.decode()

    @pytest.mark.parametrize("missing", ["client", "version", "os", "worked"])
    def test_what_is_missing_is_said(self, browser: Client, missing: str) -> None:
        response = browser.post("/clients/reports/new/", report_values(**{missing: ""}))
        assert list(response.context["form"].errors) == [missing]

    def test_an_accepted_report_becomes_a_note(self, browser: Client) -> None:
        report = self.report(browser)
        form = browser.get(f"/clients/reports/{report.pk}/accept/").context["form"]
        assert form.initial["mark"] == "none"
        data = {name: value for name, value in form.initial.items() if value is not None}
        browser.post(f"/clients/reports/{report.pk}/accept/", data)
        report.refresh_from_db()
        assert report.status == "accepted"
        assert report.note is not None
        assert (report.note.source, report.note.source_detail) == ("reported", "sato")
        assert browser.get("/clients/outlook-2024/").status_code == 404
        assert browser.get(f"/clients/{report.note.client_slug}/").status_code == 200
        again = browser.post(f"/clients/reports/{report.pk}/accept/", data)
        assert again["Location"] == "/clients/reports/"
        assert ClientNote.objects.filter(source="reported").count() == 1

    @pytest.mark.parametrize(
        ("changes", "mark", "setting"),
        [
            ({"worked": "yes"}, "good", ""),
            ({"worked": "yes", "setting": "Tools > TLS"}, "partial", "Tools > TLS"),
            ({"worked": "no", "verify": "off"}, "none", ""),
        ],
    )
    def test_the_note_offered_follows_from_the_report(
        self, browser: Client, changes: dict[str, object], mark: str, setting: str
    ) -> None:
        report = self.report(browser, **changes)
        initial = browser.get(f"/clients/reports/{report.pk}/accept/").context["form"].initial
        assert (initial["mark"], initial["setting_en"]) == (mark, setting)

    def test_a_report_may_confirm_a_note(self, browser: Client) -> None:
        report = self.report(browser, client="curl", certificate_kind="self-signed-san")
        similar = browser.get(f"/clients/reports/{report.pk}/accept/").context["similar"]
        browser.post(f"/clients/reports/{report.pk}/accept/", {"confirms": similar[0].pk})
        report.refresh_from_db()
        assert (report.status, report.note) == ("accepted", similar[0])
        assert report.note is not None
        assert report.note.confirmed_on == timezone.localdate()

    def test_a_dismissed_report_keeps_the_reason(self, browser: Client) -> None:
        report = self.report(browser)
        assert browser.get(f"/clients/reports/{report.pk}/dismiss/").status_code == 200
        browser.post(f"/clients/reports/{report.pk}/dismiss/", {"reason": "wrong port"})
        report.refresh_from_db()
        assert (report.status, report.reason) == ("dismissed", "wrong port")
        assert not ClientNote.objects.filter(source="reported").exists()
        page = browser.get("/clients/reports/?status=dismissed").content.decode()
        assert "wrong port" in page
        assert "wrong port" not in browser.get("/clients/reports/").content.decode()

    def test_the_client_is_filled_in(self, browser: Client) -> None:
        initial = browser.get("/clients/reports/new/?client=curl").context["form"].initial
        assert initial == {"client": "curl", "os": "Debian 12"}
        assert browser.get("/clients/reports/new/?client=\0").status_code == 200


ASK = """
from django.test import Client
from tests import signed_sessions
from xmailadmin.models import User
signed_sessions.install()
browser = Client(SERVER_NAME="localhost")
browser.force_login(User.objects.get(username="admin"))
for name in ("curl", "nobody", "\\0", "curl\\0"):
    form = browser.get("/clients/reports/new/", {"client": name})
    changes = browser.get("/clients/changes/", {"client": name})
    print(form.status_code, b'name="client" value="curl"' in form.content, changes.status_code)
"""


@pytest.mark.slow
def test_a_client_whose_name_no_database_holds_is_an_unknown_one(
    new_portal: Portal, postgres_database: str
) -> None:
    new_portal.extra_environment = {"DATABASE_URL": postgres_database}
    new_portal.manage("prepare")
    told = new_portal.manage("shell", "--verbosity=0", "-c", ASK).stdout.splitlines()
    assert told == ["200 True 200", *["200 False 200"] * 3]


@pytest.mark.parametrize("sign", ["\u202e", "\u2028", "\x85", "\u200b"])
def test_nobody_writes_what_others_cannot_see(browser: Client, sign: str) -> None:
    """Names of clients are in the audit, whose export has one entry a line."""
    told = f"character U+{ord(sign):04X}"
    for name in ("client", "version", "os", "message", "setting"):
        page = browser.post("/clients/reports/new/", report_values(**{name: f"a{sign}b"}))
        assert told in str(page.context["form"].errors[name])
    assert not ClientReport.objects.exists()
    for name in ("client", "client_ja", "remark_en", "setting_ja", "source_detail"):
        page = browser.post("/clients/notes/new/", note_values(**{name: f"a{sign}b"}))
        assert list(page.context["form"].errors) == [name]
        assert told in str(page.context["form"].errors)
    assert not NoteChange.objects.exists()


def test_a_message_has_lines_and_letters_are_those_that_others_type(browser: Client) -> None:
    message = "一\r\n\t二"
    browser.post("/clients/reports/new/", report_values(client="か\u3099", message=message))
    report = ClientReport.objects.get()
    assert (report.client, report.message) == ("\u304c", message)


def test_no_note_of_the_product_has_what_nobody_may_write() -> None:
    for note in ClientNote.objects.all():
        for told in note_changes.fields_of(note).values():
            assert not isinstance(told, str) or normalise_lines(told) == told


def test_changes_of_an_unknown_client_are_none(browser: Client) -> None:
    browser.post("/clients/curl/confirm/")
    for name, shown in (("curl", True), ("nobody", False), ("cu rl", False), ("\0", False)):
        page = browser.get("/clients/changes/", {"client": name})
        assert bool(page.context["changes"]) == shown


def test_an_old_note_of_the_original_page_does_not_age() -> None:
    note = ClientNote.objects.get(key=NPOP)
    note.created_at = timezone.now() - timedelta(days=9999)
    assert not note.ageing
