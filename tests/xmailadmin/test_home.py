"""The data directory, and addresses of servers with passwords that the environment gives."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.grown import BIN
from tests.portal import CHECKOUT, Portal
from xmailadmin import home


def test_a_named_file_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_METRICS_TOKEN_FILE", "/dev/zero")
    with pytest.raises(home.HomeError, match=r"^XMAILADMIN_METRICS_TOKEN_FILE=/dev/zero cannot be"):
        home.from_environment("XMAILADMIN_METRICS_TOKEN")


@pytest.mark.parametrize("name", ["secret.key", "master.key"])
def test_a_pipe_in_the_data_directory_keeps_nobody_waiting(new_portal: Portal, name: str) -> None:
    new_portal.home.mkdir()
    os.mkfifo(new_portal.home / name)
    done = new_portal.manage("prepare", check=False)
    assert done.returncode == 1
    assert f"{name} cannot be read: It is not a regular file." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_name_of_the_data_directory_reaches_no_terminal_raw(new_portal: Portal) -> None:
    new_portal.extra_environment = {"XMAILADMIN_HOME": "/dev/null/\x1b[31m"}
    done = new_portal.manage("prepare", check=False)
    assert r"/dev/null/\u001b[31m cannot be made" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("special", ["/", "?", "#"])
def test_a_password_that_breaks_the_address_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, special: str
) -> None:
    url = f"postgres://portal:pass{special}word@db.example.jp:5432/portal"
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(home.HomeError, match=r"^DATABASE_URL .*percent") as raised:
        home.url_from_environment("DATABASE_URL", "")
    assert "pass" not in str(raised.value).replace("password in percent", "")
    assert raised.value.__context__ is None


def test_an_address_in_percent_form_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgres://portal:pass%2Fword@db.example.jp:5432/portal"
    monkeypatch.setenv("DATABASE_URL", url)
    assert home.url_from_environment("DATABASE_URL", "") == url
    monkeypatch.delenv("DATABASE_URL")
    assert home.url_from_environment("DATABASE_URL", "sqlite:////srv/x.sqlite3") == (
        "sqlite:////srv/x.sqlite3"
    )


def test_a_data_directory_made_beforehand_is_closed_to_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setenv("XMAILADMIN_HOME", str(tmp_path))
    assert home.directory() == tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_holds_something_keeps_its_mode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may be one that others need, such as /srv."""
    (tmp_path / "something").touch()
    tmp_path.chmod(0o755)
    monkeypatch.setenv("XMAILADMIN_HOME", str(tmp_path))
    assert home.directory() == tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("command", "name", "mode"),
    [
        ("check", "", 0o755),
        ("prepare", "master.key", 0o640),
        ("up", "tls.key", 0o622),
        ("web", "", 0o750),
        ("worker", "master.key", 0o644),
    ],
)
def test_each_start_says_what_others_can_get_at(
    new_portal: Portal, command: str, name: str, mode: int
) -> None:
    new_portal.home.mkdir()
    (new_portal.home / "tls.key").touch(mode=0o600)
    (new_portal.home / "master.key").write_text("A" * 43 + "=\n")
    (new_portal.home / "master.key").chmod(0o600)
    new_portal.home.chmod(0o700)
    if command == "worker":
        new_portal.manage("prepare")
    new_portal.extra_environment = {"XMAILADMIN_BIND": "0.0.0.0:1"}  # nothing is served

    def told() -> str:
        if command != "worker":
            return new_portal.manage(command, check=False).stderr
        environment = {**new_portal.environment, "XMAILADMIN_MASTER_KEYS": "no key"}
        line = [str(BIN / "celery"), "-A", "xmailadmin", "worker"]
        ended = subprocess.run(
            line, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60
        )
        return ended.stderr

    assert "Others" not in told()
    path = new_portal.home / name
    path.chmod(mode)
    said = told()
    assert said.count("Others") == 1
    assert f"/{path.name} (mode {mode:o})." in said  # a log leaves long words of a path out
    assert f"chmod {'600' if name else '700'} /" in said
