"""`manage.py up` as the person at the terminal meets it: start, start again, stop, resume."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from tests.doubles.mailroot import make_mailroot
from tests.doubles.wire import Faults
from tests.doubles.xmail import XMail
from tests.portal import Portal

PAIR = (
    "issue_pair", "--country", "JP", "--state", "Tokyo", "--locality", "Shibuya-ku",
    "--organization", "Xmail Co., Ltd.", "--common-name", "mail.dojo.jp", "--key-type", "ec",
)  # fmt: skip


def add_host(portal: Portal, mailroot: Path, **ports: int) -> None:
    chosen = dict.fromkeys(("smtp", "smtps", "pop3", "pop3s", "ctrls"), 0) | ports
    flags = [word for name, port in chosen.items() for word in (f"--{name}-port", str(port))]
    portal.manage(
        "add_host", mailroot.name, "--transport", "local", "--mailroot", str(mailroot), *flags
    )


def rows(portal: Portal, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(portal.home / "xmailadmin.sqlite3", timeout=10) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def wait_for(what: str, condition: object, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def test_the_first_start_makes_everything_and_says_how_to_log_in(tmp_path: Path) -> None:
    portal = Portal(tmp_path / "portal", {"XMAILADMIN_ADMIN_PASSWORD": ""}, username="hanako")
    previous = os.umask(0)
    try:
        with portal.up():
            pass
    finally:
        os.umask(previous)
    told = portal.log.read_text()
    assert portal.url in told
    assert re.search(r"Log in as hanako with the password \S{16}\n", told)
    for file in portal.home.iterdir():
        if file != portal.log:
            assert file.stat().st_mode & 0o077 == 0, file.name
    with portal.up():
        pass
    again = portal.log.read_text().removeprefix(told)
    assert "password" not in again
    assert "Log in with your account" in again


def test_it_stops_within_10_seconds_and_keeps_everything(new_portal: Portal) -> None:
    with new_portal.up() as process:
        new_portal.manage(*PAIR)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 10
    assert "Traceback" not in new_portal.log.read_text()
    with new_portal.up():
        assert rows(new_portal, "select status from certs_pair") == [("ISSUED",)]


def up_fails(portal: Portal) -> str:
    done = portal.manage("up", check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, "one line, no traceback"
    return done.stderr


def test_a_busy_port_is_one_clear_line(new_portal: Portal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", new_portal.port))
        taken.listen()
        told = up_fails(new_portal)
    assert f"127.0.0.1:{new_portal.port}" in told
    assert "in use" in told


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = up_fails(Portal(tmp_path / "file" / "home", {"XMAILADMIN_BIND": "127.0.0.1:1"}))
    assert "XMAILADMIN_HOME" in told


@pytest.mark.parametrize("bind", ["nonsense", "127.0.0.1:", "127.0.0.1:99999", "256.0.0.1:80"])
def test_a_bad_address_is_one_clear_line(new_portal: Portal, bind: str) -> None:
    portal = Portal(new_portal.home, {"XMAILADMIN_BIND": bind, "XMAILADMIN_URL": "http://a:1"})
    assert bind in up_fails(portal)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XMAILADMIN_URL", "portal.example.jp"),
        ("XMAILADMIN_URL", "https://portal.example.jp:port"),
        ("XMAILADMIN_HSTS", "yes"),
        ("XMAILADMIN_TRUSTED_PROXIES", "proxy.example.jp"),
        ("XMAILADMIN_ALLOWED_NETWORKS", "10.0.0.0/33"),
        ("XMAILADMIN_NOTE_AGE_DAYS", "a year"),
        ("XMAILADMIN_READER_REQUESTS_A_MINUTE", "0"),
        ("XMAILADMIN_TIME_ZONE", "Tokyo"),
        ("XMAILADMIN_LOG", "xml"),
        ("DATABASE_URL", "mysql://portal:secret-word@db.example.jp/portal"),
        ("DATABASE_URL", "portal"),
        ("CELERY_BROKER_URL", "broker.example.jp"),
        ("CELERY_BROKER_URL", "amqp://portal:secret-word@broker.example.jp"),
        ("EMAIL_URL", "mail.example.jp"),
        ("EMAIL_URL", "smtp+tls://user:secret-word@mail.example.jp:port"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_one_clear_line(
    new_portal: Portal, name: str, value: str
) -> None:
    told = up_fails(Portal(new_portal.home, {name: value}))
    assert told.startswith(f"xmailadmin: {name}")
    assert "secret-word" not in told


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = up_fails(Portal(tmp_path / "file", {"XMAILADMIN_BIND": "127.0.0.1:1"}))
    assert "XMAILADMIN_HOME" in told


def test_a_lost_master_key_is_refused_and_never_replaced(new_portal: Portal) -> None:
    new_portal.manage(*PAIR)
    (new_portal.home / "master.key").unlink()
    assert "master key" in up_fails(new_portal)
    assert not (new_portal.home / "master.key").exists()


def begin_slow_deployment(portal: Portal, tmp_path: Path, xmail: XMail, count: int) -> None:
    """Hosts whose one service answers slowly, so that the work is under way when the end comes."""
    for number in range(count):
        add_host(portal, make_mailroot(tmp_path / f"m{number:02}"), pop3=xmail.ports["pop3"])
    hosts = [word for number in range(count) for word in ("--install", f"m{number:02}")]
    portal.manage(*PAIR, *hosts, "--no-wait")
    wait_for(
        "a host is being worked on",
        lambda: rows(portal, "select 1 from hosts_installation where step in ('VERIFY','STAGE')"),
    )


def all_hold_the_pair(portal: Portal, tmp_path: Path) -> None:
    wait_for(
        "every host is done",
        lambda: (
            not rows(
                portal,
                "select 1 from hosts_installation where status not in ('INSTALLED','UNCHANGED')",
            )
        ),
        60,
    )
    pairs = {
        tuple((mailroot / name).read_bytes() for name in ("server.key", "server.cert"))
        for mailroot in tmp_path.glob("m??")
    }
    assert len(pairs) == 1


@pytest.fixture
def slow_xmail(tmp_path: Path) -> XMail:
    """Answers late, and then as another program than XMail: a finding and no failure."""
    faults = Faults(greeting_delay_s=3, greeting="+OK another server ready")
    return XMail(make_mailroot(tmp_path / "xmail"), faults=faults)


def test_ctrl_c_hands_over_a_running_deployment(
    new_portal: Portal, tmp_path: Path, slow_xmail: XMail
) -> None:
    with slow_xmail:
        with new_portal.up() as process:
            begin_slow_deployment(new_portal, tmp_path, slow_xmail, 3)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        with new_portal.up():
            all_hold_the_pair(new_portal, tmp_path)


@pytest.mark.slow
def test_a_killed_portal_resumes_where_it_was(
    new_portal: Portal, tmp_path: Path, slow_xmail: XMail
) -> None:
    with slow_xmail:
        with new_portal.up() as process:
            begin_slow_deployment(new_portal, tmp_path, slow_xmail, 3)
            process.kill()
            process.wait(10)
        with new_portal.up():
            all_hold_the_pair(new_portal, tmp_path)


def test_commands_need_no_portal_and_tell_errors_clearly(
    new_portal: Portal, tmp_path: Path
) -> None:
    add_host(new_portal, make_mailroot(tmp_path / "mail1"))
    told = new_portal.manage_json(*PAIR, "--install", "mail1")
    assert [row["status"] for row in told["installations"]] == ["INSTALLED"]
    assert re.fullmatch(r"[0-9a-f]{64}", told["pair"]["sha256"])
    (finding, *_) = new_portal.manage_json("diagnose_hosts")["findings"]
    assert (finding["host"], finding["level"]) == ("mail1", "ok")
    refused = new_portal.manage(*PAIR, "--days", "826", check=False)
    assert refused.returncode == 1
    assert "days" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert new_portal.manage("deploy_pair", "1", "nobody", check=False).returncode == 1
    assert new_portal.manage("rollback_host", "mail1", check=False).returncode == 1
    removed = new_portal.manage_json("rollback_host", "mail1", "--remove")
    assert [row["status"] for row in removed["installations"]] == ["REMOVED"]


def test_a_command_beside_a_running_portal_is_done_once(portal: Portal, tmp_path: Path) -> None:
    add_host(portal, make_mailroot(tmp_path / "mail1"))
    portal.manage(*PAIR, "--install", "mail1")
    assert rows(portal, "select status, attempts from hosts_installation") == [("INSTALLED", 1)]
