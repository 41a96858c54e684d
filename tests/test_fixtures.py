"""The servers behind the fixtures are real: each is spoken to in its own protocol."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import psycopg
import pytest
import redis
from playwright.sync_api import Page

from tests.portal import Portal
from tests.servers import SSHServer, missing


def test_redis_keeps_a_list_and_writes_nothing_to_disk(redis_server: str) -> None:
    with redis.Redis.from_url(redis_server, decode_responses=True) as client:
        client.rpush("queue", "first", "second")
        assert client.lpop("queue") == "first"
        assert client.config_get("save") == {"save": ""}


def test_postgres_is_recent_and_asks_for_the_password(postgres_server: str) -> None:
    with psycopg.connect(postgres_server) as connection:
        assert connection.info.server_version >= 150000
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    secret = psycopg.conninfo.conninfo_to_dict(postgres_server)["password"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.replace(str(secret), "wrong"))


async def test_sshd_serves_files_and_proves_its_host_key(
    ssh_server: SSHServer, tmp_path: Path
) -> None:
    (tmp_path / "server.cert").write_bytes(b"certificate")
    async with (
        asyncssh.connect(
            "127.0.0.1",
            ssh_server.port,
            username=ssh_server.user,
            client_keys=[ssh_server.client_key],
            known_hosts=ssh_server.known_hosts,
            config=None,
        ) as connection,
        connection.start_sftp_client() as files,
    ):
        assert await files.exists(str(tmp_path / "server.cert"))


async def test_sshd_with_another_host_key_is_refused(ssh_server: SSHServer) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await asyncssh.connect(
            "127.0.0.1", ssh_server.port, known_hosts=([stranger], [], []), config=None
        )


@pytest.mark.browser
def test_chromium_runs_scripts_in_the_viewers_zone(page: Page) -> None:
    page.set_content("<title>XMail</title><p>メール</p>")
    assert page.title() == "XMail"
    assert page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone") == "Asia/Tokyo"
    assert page.evaluate("navigator.language") == "en-US"


@pytest.mark.browser
@pytest.mark.browser_context_args(locale="ja-JP")
def test_chromium_speaks_japanese_when_asked(page: Page) -> None:
    assert page.evaluate("navigator.language") == "ja-JP"


def test_portal_starts_answers_and_ends_cleanly(new_portal: Portal) -> None:
    with new_portal.up() as process:
        assert new_portal.status("/account/login/") == 200
        assert new_portal.home.stat().st_mode & 0o777 == 0o700
    assert process.returncode == 0, new_portal.log.read_text()


def test_missing_skips_here_and_fails_on_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such server"):
        missing("no such server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such server"):
        missing("no such server")
