"""Commands do their work whether or not what they say can be printed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.hosts.commands import PAIR, kept, run, run_json
from tests.portal import CHECKOUT, Portal
from xmailadmin.backup import BackupError
from xmailadmin.commands import PortalCommand, passphrase


class Work(PortalCommand):
    prepares = False

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        self.done = 0
        for number in (1, 2, 3):
            self.say(f"ホスト{number}: INSTALLED")
            self.stderr.write(f"Warning: ホスト{number}")
            self.done = number
        return {"installed": self.done}, False


class Nobody(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_what_the_locale_cannot_write_is_written_in_ascii() -> None:
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    err = io.TextIOWrapper(io.BytesIO(), "ascii")
    call_command(Work(), stdout=out, stderr=err)
    assert out.buffer.getvalue().count(b"\\u30db\\u30b9\\u30c83: INSTALLED") == 1
    assert err.buffer.getvalue().count(b"Warning") == 3


@pytest.mark.parametrize("lost", ["stdout", "stderr"])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_work_goes_on_where_nobody_reads(lost: str, as_json: bool) -> None:
    command = Work()
    outputs = {"stdout": io.StringIO(), "stderr": io.StringIO(), lost: Nobody()}
    with pytest.raises(SystemExit) as ended:
        call_command(command, json=as_json, **outputs)
    assert (command.done, ended.value.code) == (3, 1)
    other = outputs["stderr" if lost == "stdout" else "stdout"].getvalue()
    assert ("Warning: ホスト3" if lost == "stdout" else "3") in other


def test_a_full_disk_under_the_output_is_no_traceback(new_portal: Portal) -> None:
    new_portal.manage("prepare")
    command = [sys.executable, str(CHECKOUT / "manage.py"), "verify_audit"]
    for options in ([], ["--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*command, *options], env=new_portal.environment, stdout=full,
                stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (1, "")


NO_TEXT = os.fsdecode(b"\xff\xfe")
ESCAPES = "\x1b]0;owned\x07 \x9b31m \u202e\nforged"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    [
        ("diagnose_hosts", NO_TEXT),
        ("backup", NO_TEXT),
        ("add_host", "mail1", "--transport", "local", "--memo", NO_TEXT),
        ("issue_pair", *PAIR, "--common-name", "mail.dojo.jp", "--memo", NO_TEXT),
    ],
)  # fmt: skip
def test_arguments_that_are_no_text_are_refused_in_a_sentence(words: tuple[str, ...]) -> None:
    done = run_json(*words)
    assert done.status == 1
    assert done.json["error"] == done.error
    assert done.error.startswith("This argument is not UTF-8 text: \\udcff")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    [
        ("diagnose_hosts", ESCAPES),
        ("reenrol_host", ESCAPES),
        ("backup", f"/no/such/{ESCAPES}"),
        ("restore", f"/no/such/{ESCAPES}"),
        ("restore", "file", "--passphrase-file", f"/no/such/{ESCAPES}"),
        ("client_lab", "--name", f"{ESCAPES}.test"),
        ("client_lab", "--files", ESCAPES, ESCAPES),
        ("verify_audit", ESCAPES),
    ],
)
def test_nothing_that_was_given_reaches_the_terminal_raw(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMAILADMIN_BACKUP_PASSPHRASE", "sycamore anvil drizzle")
    done = run(*words)
    assert done.status == 1
    assert r"\u001b]0;owned\u0007 \u009b31m \u202e\nforged" in done.error
    assert done.error.isprintable()


@pytest.mark.django_db
def test_what_is_in_a_backup_forges_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise BackupError(f"It cannot be restored: {ESCAPES}")

    monkeypatch.setattr("xmailadmin.management.commands.restore.restore", refuse)
    monkeypatch.setenv("XMAILADMIN_BACKUP_PASSPHRASE", "sycamore anvil drizzle")
    done = run_json("restore", "file")
    assert done.error.startswith("It cannot be restored: ")
    assert done.error.isprintable()
    assert done.json == {"error": done.error}


class Told(PortalCommand):
    """Says what came from elsewhere."""

    prepares = False

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        self.say(ESCAPES)
        self.stderr.write(ESCAPES)
        return {"told": ESCAPES}, False


def test_what_is_printed_reaches_the_terminal_escaped() -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command(Told(), stdout=out, stderr=err)
    for told in (out.getvalue(), err.getvalue()):
        assert told == "\\u001b]0;owned\\u0007 \\u009b31m \\u202e\nforged\n"
    out = io.StringIO()
    call_command(Told(), json=True, stdout=out)
    assert all(line.isprintable() for line in out.getvalue().splitlines())
    assert json.loads(out.getvalue()) == {"told": ESCAPES}


@pytest.mark.django_db
def test_a_secret_from_a_file_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in ("--password-file", "--key-file"):
        done = run_json("add_host", "mail1", "--transport", "sftp", option, "/dev/zero")
        assert done.json["error"] == "/dev/zero cannot be read: File too large."
    done = run_json("client_lab", "--files", "/dev/zero", "/dev/zero")
    assert done.json["error"] == "/dev/zero cannot be read: File too large."
    with pytest.raises(CommandError, match=r"^/dev/zero cannot be read: File too large"):
        passphrase(Path("/dev/zero"), new=False)


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
def test_a_secret_may_have_64_kb(tmp_path: Path, size: int) -> None:
    path = Path(kept(tmp_path / "secret", "x" * size))
    if size > 64 * 1024:
        with pytest.raises(CommandError, match="File too large"):
            passphrase(path, new=False)
    else:
        assert len(passphrase(path, new=False)) == size


def test_a_secret_may_come_through_a_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", 'printf "a\r\nb\r\n" > "$1"', "sh", str(fifo)]) as writer:
        assert passphrase(fifo, new=False) == "a\nb"
    assert writer.returncode == 0
