"""What the processes say when they are started in the wrong order or for the wrong thing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.grown import BIN, Grown
from tests.portal import CHECKOUT, Portal


def test_pages_alone_need_a_broker(new_portal: Portal) -> None:
    refused = new_portal.manage("web", check=False)
    assert refused.returncode == 1
    assert "CELERY_BROKER_URL names no broker" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_script_reads_why_a_command_refuses(new_portal: Portal) -> None:
    new_portal.extra_environment = {"XMAILADMIN_MASTER_KEYS": "no key"}
    for words in (["verify_audit"], ["deploy_pair", "1", "--all"]):
        refused = new_portal.manage(*words, "--json", check=False)
        assert refused.returncode == 1
        ((name, told),) = json.loads(refused.stdout).items()
        assert name == "error"
        assert "master key" in told
        assert told in refused.stderr


def test_a_database_that_refuses_says_why(new_portal: Portal, postgres_server: str) -> None:
    new_portal.extra_environment = {
        "DATABASE_URL": f"{postgres_server.rpartition('/')[0]}/nowhere",
    }
    refused = new_portal.manage("prepare", check=False)
    assert refused.returncode == 1
    assert 'database "nowhere" does not exist' in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_portal_is_prepared_once_and_shows_that_it_is_in_parts(parts: Grown) -> None:
    refused = parts.manage("web", check=False)
    assert refused.returncode == 1
    assert "manage.py prepare" in refused.stderr
    # Two machines that start at once make one database and one administrator.
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(parts.manage, "prepare", check=False) for _ in range(2)]
        assert [each.result().stderr for each in both] == ["", ""]
    assert parts.rows("select count(*) from xmailadmin_user") == [(1,)]
    with parts.up():
        assert parts.status("/healthz") == 200
    assert "`up` is web server, worker and ticker in one" in parts.log.read_text()


@pytest.mark.parametrize("process", ["worker", "beat"])
def test_a_process_with_a_setting_that_cannot_be_meant_is_one_clear_line(
    new_portal: Portal, process: str
) -> None:
    ended = subprocess.run(
        [str(BIN / "celery"), "-A", "xmailadmin", process],
        cwd=CHECKOUT,
        env={**new_portal.environment, "DATABASE_URL_FILE": "/nowhere/database_url"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("xmailadmin: DATABASE_URL_FILE=/nowhere/database_url")
    assert ended.stderr.count("\n") == 1, ended.stderr


def test_a_worker_with_another_master_key_ends_and_says_why(parts: Grown) -> None:
    parts.manage("prepare")
    other = {**parts.environment, "XMAILADMIN_MASTER_KEYS": "A" * 43 + "="}
    command = [str(BIN / "celery"), "-A", "xmailadmin", "worker"]

    def refusal(environment: Mapping[str, str]) -> str:
        ended = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 1, ended
        assert ended.stderr.count("\n") == 1, ended.stderr
        return ended.stderr

    assert "must be 32 bytes in base64" in refusal({**other, "XMAILADMIN_MASTER_KEYS": "no key"})
    parts.manage(
        "issue_pair", "--country", "JP", "--state", "S", "--locality", "L",
        "--organization", "O", "--key-type", "ec", "--common-name", "mail.dojo.jp",
    )  # fmt: skip
    told = refusal(other)
    assert told.startswith("xmailadmin: the master key ")
    assert "is not at hand. Put that key back" in told
    parts.add_worker()  # with the right one it starts
