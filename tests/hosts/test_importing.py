"""Hosts from a CSV file: all of them or none, every problem with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import translation

from hosts import importing
from hosts.host_form import PORTS
from hosts.models import Host
from tests.doubles.mailroot import make_mailroot
from tests.factories import local_host
from tests.hosts.pages import text
from xmailadmin.models import AuditEntry

pytestmark = pytest.mark.django_db
HEAD = "name,transport,address,user,mailroot,trust_fingerprint,memo\n"
GOOD = (
    HEAD + f"mail1,sftp,mail1.example.jp,xmail,/var/MailRoot,{'ab' * 32},東京 第一\n"
    "mail2,ctrl,192.0.2.2,admin,,,大阪\n"
)


def upload(client: Client, data: bytes | str) -> Any:
    content = data.encode() if isinstance(data, str) else data
    file = SimpleUploadedFile("hosts.csv", content, content_type="text/csv")
    return client.post(reverse("host_import"), {"file": file})


def problems(csv: str) -> dict[int, list[str]]:
    return {row.line: row.problems for row in importing.check(csv).rows if row.problems}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_a_file_is_seen_first_and_then_registered_as_a_whole(
    admin_client: Client, encoding: str
) -> None:
    preview = upload(admin_client, GOOD.replace("\n", "\r\n").encode(encoding))
    page = text(preview)
    assert "Every row can be registered. Nothing is registered yet." in page
    assert "Register 2 hosts" in page
    assert not Host.objects.exists()
    confirmed = {"text": preview.context["sheet"].text, "password": "the-secret"}
    done = text(admin_client.post(reverse("host_import"), confirmed, follow=True))
    assert "2 hosts are registered." in done
    first, second = Host.objects.all()
    assert (first.name, first.transport, first.memo) == ("mail1", "sftp", "東京 第一")
    assert (first.trust_fingerprint, first.smtp_port) == ("ab" * 32, 25)
    assert (second.trust_fingerprint, second.memo) == ("", "大阪")
    assert [host.target().credential.password for host in (first, second)] == ["the-secret"] * 2
    assert first.created_by is not None
    entry = AuditEntry.objects.get(action="host.import")
    assert entry.detail == {"count": 2, "hosts": ["mail1", "mail2"], "secrets": ["password"]}
    assert "the-secret" not in done
    for host in (first, second):
        page = text(admin_client.get(host.get_absolute_url()))
        assert "Who did what Host registered admin ·" in page.replace(" All of it", "")


def test_one_password_for_all_ctrl_hosts_is_advised_against(admin_client: Client) -> None:
    before = text(admin_client.get(reverse("host_import")))
    assert "Each CTRL host should have a password of its own" in before
    asked = text(upload(admin_client, HEAD + "mail1,ctrl,192.0.2.1,,,,\n"))
    assert "every other CTRL host with the same user and password" in asked


def test_one_bad_row_keeps_all_of_them_out(admin_client: Client) -> None:
    page = upload(admin_client, GOOD + "mail3,smoke,192.0.2.3,,,,\n")
    assert "1 of 3 rows has a problem. Nothing was registered" in text(page)
    assert "Register 3 hosts" not in text(page)
    forced = admin_client.post(reverse("host_import"), {"text": page.context["sheet"].text})
    assert "Nothing was registered" in text(forced)
    assert not Host.objects.exists()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            "mail1,ftp,192.0.2.1,,,,",
            "How the portal reaches it: “ftp” is none of: local, sftp, ctrl.",
        ),
        (",ctrl,192.0.2.1,,,,", "required"),
        ("mail1,ctrl,,,,,", "required"),
        ("mail1,ctrl,169.254.169.254,,,,", "cannot be the address of a mail server"),
        ("mail1,sftp,192.0.2.1,,MailRoot,,", "MailRoot"),
        ("mail1,sftp,192.0.2.1,,,,", "MailRoot"),
        ("mail1,ctrl,192.0.2.1,,,MD5:00,", "no SHA-256 fingerprint"),
        ("mail1,ctrl,192.0.2.1,,,,memo,more", "more fields than columns"),
        ("taken,ctrl,192.0.2.1,,,,", "registered already"),
        ("mail1,local,,,{place},,", "already registered as taken"),
        ("mail\u202e1,ctrl,192.0.2.1,,,,", "invisible character U+202E"),
        ("TAKEN,ctrl,192.0.2.1,,,,", "looks like that of the host taken"),
        ("ｔａｋｅｎ,ctrl,192.0.2.1,,,,", "looks like that of the host taken"),
        ("taken\u3164,ctrl,192.0.2.1,,,,", "invisible character U+3164"),
        ("mail  1x,ctrl,192.0.2.1,,,,", "several blanks in a row"),
    ],
)
def test_every_problem_is_told_with_its_row(tmp_path: Path, row: str, reason: str) -> None:
    taken = local_host(tmp_path, "taken")
    found = problems(HEAD + row.replace("{place}", taken.mailroot) + "\n")
    assert any(reason in problem for problem in found[2]), found


def test_the_same_host_twice_in_one_file_is_told() -> None:
    row = "mail1,ctrl,192.0.2.1,,,,\n"
    other = "mail2,ctrl,192.0.2.1,,,,\n"
    found = problems(HEAD + row + row.replace("192.0.2.1", "192.0.2.9") + other)
    assert found[3] == ["name: It stands in line 2 already."] or "line 2" in found[3][0]
    assert "already registered as mail1" in found[4][0]


def test_names_that_look_the_same_in_one_file_are_told() -> None:
    row = "mail1,ctrl,192.0.2.1,,,,\n"
    found = problems(HEAD + row + "Mail1,ctrl,192.0.2.9,,,,\n")
    assert found == {3: ["Name: This name looks like that of the host mail1. Choose another name."]}


def test_a_name_of_letters_that_look_like_others_is_remarked_on() -> None:
    sheet = importing.check(
        HEAD + "m\u0430il1,ctrl,192.0.2.1,,,,\nメールmail2号,ctrl,192.0.2.2,,,,\n"
    )
    assert sheet.good
    assert "Latin letters beside Greek or Cyrillic" in sheet.rows[0].note
    assert sheet.rows[1].note == ""


def test_problems_are_told_in_the_language_of_the_reader() -> None:
    with translation.override("ja"):
        (sentences,) = problems(HEAD + "mail1,ctrl,,,,,\n").values()
    assert "required" not in " ".join(sentences)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (HEAD, "There is no host in the file."),
        ("name,address\nmail1,192.0.2.1\n", "The column “transport” is missing."),
        ("name,transport,colour\n", "There is no column named “colour”."),
        ("name,transport,name\n", "A column occurs twice."),
        ("name,transport,password\nmail1,ctrl,x\n", "passwords and keys do not belong there"),
        ('name,transport\n"mail1,ctrl\n', "cannot be read as CSV"),
        (b"\xff\xfe\x00\x81", "neither UTF-8 nor Shift_JIS"),
        (HEAD.encode() + b"x" * importing.MAX_BYTES, "larger than 600 kB"),
        (HEAD + "m,ctrl,192.0.2.1,,,,\n" * (importing.MAX_ROWS + 1), "more than 2000 hosts"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    admin_client: Client, data: bytes | str, reason: str
) -> None:
    assert reason in text(upload(admin_client, data))
    assert not Host.objects.exists()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_fields_may_be_separated_as_a_spreadsheet_does(delimiter: str) -> None:
    assert importing.check(GOOD.replace(",", delimiter)).good


def test_switches_and_ports_may_be_written_as_people_do() -> None:
    head = "Name,Transport,Address,Allow_Plain_Key,smtp_port,submission_port\n"
    sheet = importing.check(head + "mail1,CTRL,192.0.2.1,はい,2525,587\nmail2,ctrl,192.0.2.2,,,\n")
    assert sheet.good, [row.problems for row in sheet.rows]
    first, second = (row.host for row in sheet.rows)
    assert first is not None
    assert second is not None
    assert (first.allow_plain_key, first.smtp_port, first.submission_port) == (True, 2525, 587)
    assert (second.allow_plain_key, second.smtp_port, second.submission_port) == (False, 25, 0)
    assert "Write yes or no." in problems(head + "mail1,ctrl,192.0.2.1,maybe,,\n")[2][0]


def test_the_file_to_fill_in_is_read_again_and_holds_only_examples(admin_client: Client) -> None:
    response = admin_client.get(reverse("host_import_template"))
    assert response["Content-Disposition"] == 'attachment; filename="hosts.csv"'
    content = importing.decode(response.content)
    assert content.splitlines()[0].split(",") == list(importing.COLUMNS)
    assert set(PORTS) < set(importing.COLUMNS)
    with pytest.raises(importing.Unreadable, match="no host"):
        importing.check(content)
    assert importing.check(content.replace("#", "")).good


def test_a_local_host_gets_no_secrets(admin_client: Client, tmp_path: Path) -> None:
    mailroot = make_mailroot(tmp_path / "mail1")
    csv = HEAD + f"mail1,local,,,{mailroot},,\n"
    page = upload(admin_client, csv)
    assert "Signing in on the remote hosts" not in text(page)
    admin_client.post(reverse("host_import"), {"text": csv, "password": "x"})
    assert Host.objects.get().password_sealed == ""


def test_two_thousand_rows_are_checked_without_a_query_each(
    django_assert_max_num_queries: Any,
) -> None:
    rows = "".join(
        f"mail{at},ctrl,192.1.{at // 250}.{at % 250 + 1},admin,,,\n" for at in range(300)
    )
    with django_assert_max_num_queries(2):
        sheet = importing.check(HEAD + rows)
    assert sheet.good
    with django_assert_max_num_queries(30):  # hosts and audit entries, many to a query
        importing.save(sheet, {}, by=None)
    assert Host.objects.count() == 300


def test_a_link_stands_for_the_directory_that_it_leads_to(tmp_path: Path) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    (tmp_path / "link").symlink_to(mailroot)
    row = f"local,,,{tmp_path}/link,,\n"
    sheet = importing.check(f"{HEAD}mail1,{row}mail2,{row}")
    first, second = sheet.rows
    assert first.host is not None
    assert first.host.mailroot == str(mailroot)
    assert "which is registered as the MailRoot" in first.note
    assert second.problems == ["MailRoot: This MailRoot is already registered as mail1."]


def test_a_jump_host_is_checked_as_in_the_form() -> None:
    found = problems("name,transport,address,mailroot,jump\nm,sftp,192.0.2.1,/m,a b@c d\n")
    assert any("is no jump host" in problem for problem in found[2]), found
