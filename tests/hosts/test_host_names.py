"""What hosts may be called, so that nobody takes one for another."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from certs.names import Refused
from hosts.host_form import HostForm
from hosts.host_names import mixes_letters, refuse_invisible, sameness
from hosts.models import Host
from tests.factories import local_host
from tests.hosts.commands import run
from tests.hosts.pages import edit, text


@pytest.mark.parametrize(
    "invisible",
    [
        "\u00a0", "\u00ad", "\u034f", "\u115f", "\u1160", "\u200b", "\u2003", "\u2060", "\u2800",
        "\u3164", "\ufe0f", "\ufeff", "\uffa0", "\U000e0100", "  ", " \u3000",
    ],
)  # fmt: skip
def test_what_nobody_sees_is_in_no_name(invisible: str) -> None:
    for name in (f"mail{invisible}1", f"{invisible}mail1", f"mail1{invisible}"):
        with pytest.raises(Refused):
            refuse_invisible(name)


@pytest.mark.parametrize(
    "name",
    ["mail1", "メールサーバー　1号", "東京 mail-1 (予備)", "почта", "Zürich", "mail.example.jp"],
)
def test_names_as_people_give_them_are_taken(name: str) -> None:
    refuse_invisible(name)
    assert not mixes_letters(name)


@pytest.mark.parametrize(
    "other",
    ["MAIL 1", "ｍａｉｌ　１", "mail\u00a01", "mail  1", "mail\u034f 1", "mail 1\u3164", "mail ①"],
)
def test_names_that_look_alike_are_the_same(other: str) -> None:
    assert sameness(other) == sameness("mail 1")
    assert sameness("mail 2") != sameness("mail 1")


@pytest.mark.parametrize("name", ["m\u0430il1", "\u041cail", "host \u03bfne1 \u03bfnE"])
def test_letters_that_look_like_others_are_noticed(name: str) -> None:
    assert mixes_letters(name)


def fields(host: Host, **changed: object) -> dict[str, object]:
    sent = {
        "name": host.name, "transport": "local", "os": "unix", "mailroot": host.mailroot,
        "address": host.address, "smtp_port": 0, "submission_port": 0, "smtps_port": 0,
        "pop3_port": 0, "pop3s_port": 0, "ctrls_port": 0, "memo": "",
    }  # fmt: skip
    return sent | changed


@pytest.mark.django_db
def test_no_host_is_called_like_another_but_for_what_nobody_sees(
    admin_client: Client, tmp_path: Path
) -> None:
    first, second = local_host(tmp_path / "a", "mail1"), local_host(tmp_path / "b", "mail2")
    page = edit(admin_client, second, fields(second, name="Mail1"))
    assert "This name looks like that of the host mail1." in text(page)
    edit(admin_client, second, fields(second, name="MAIL2"))
    second.refresh_from_db()
    assert second.name == "MAIL2"
    page = edit(admin_client, second, fields(second, name="m\u0430il3"), follow=True)
    assert "has Latin letters beside Greek or Cyrillic ones" in text(page)
    told = run("add_host", "MAIL1", "--transport", "local", "--mailroot", first.mailroot)
    assert "looks like that of the host mail1" in told.error


@pytest.mark.django_db
def test_a_host_that_has_such_a_name_already_can_be_changed(
    admin_client: Client, tmp_path: Path
) -> None:
    local_host(tmp_path / "a", "mail1")
    older = local_host(tmp_path / "b", "MAIL1\u3164")
    edit(admin_client, older, fields(older, memo="rack 3"))
    older.refresh_from_db()
    assert older.memo == "rack 3"


@pytest.mark.django_db
@pytest.mark.parametrize("user", ["a\r\nb", "a\tb", "a\u202eb", "a\0b", "a\u200bb"])
def test_no_user_is_taken_that_breaks_a_line_or_is_not_seen(user: str) -> None:
    form = HostForm({"name": "mail1", "transport": "sftp", "user": user})
    assert not form.is_valid()
    assert "user" in form.errors
    form = HostForm({"name": "mail1", "transport": "sftp", "user": "DOM\\xmail"})
    assert not form.is_valid()
    assert "user" not in form.errors
