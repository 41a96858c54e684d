"""Looks that end when something newer is known of their host: what they found is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.test import Client

from hosts.diagnosis import findings as judge
from hosts.diagnosis import gather
from hosts.facts import Facts
from hosts.models import Diagnosis, Host, diagnosis
from hosts.transports import Transport
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.factories import files, issued_pair, local_host
from tests.hosts.commands import run, run_json
from tests.hosts.pages import text

pytestmark = pytest.mark.django_db
FINDINGS = "hosts.models.diagnosis.findings"
Meanwhile = Callable[[Callable[[], Any]], None]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return local_host(tmp_path)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Has something happen once, when the next look has seen its host and nothing is kept yet."""

    def arrange(other: Callable[[], Any]) -> None:
        def late(*given: Any) -> Any:
            monkeypatch.setattr(FINDINGS, judge)
            other()
            return judge(*given)

        monkeypatch.setattr(FINDINGS, late)

    return arrange


def look() -> list[Diagnosis]:
    return Diagnosis.objects.take(Host.objects.all())


def test_a_host_that_is_too_slow_does_not_hold_up_what_was_found_at_others(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = local_host(tmp_path, "slow")

    async def late(transport: Transport, *more: Any) -> Facts:
        if transport.target.name == "slow":
            await asyncio.sleep(3600)
        return await gather(transport, *more)

    monkeypatch.setattr(diagnosis, "gather", late)
    monkeypatch.setattr(diagnosis, "LOOK_S", 0.5)
    assert {row.host for row in look()} == {host, slow}
    assert slow.diagnosis.facts["error"]["code"] == "registration.too_slow"
    assert "error" not in host.diagnosis.facts or not host.diagnosis.facts["error"]


@pytest.mark.parametrize(
    "change",
    [
        {"mailroot": "/elsewhere"}, {"address": "192.0.2.1"}, {"port": 1}, {"user": "somebody"},
        {"transport": "sftp"}, {"jump": "192.0.2.2"}, {"trust_fingerprint": "ab" * 32},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_was_found_where_the_host_is_no_more_is_not_kept(
    host: Host, meanwhile: Meanwhile, change: dict[str, Any]
) -> None:
    meanwhile(lambda: Host.objects.update(**change))
    assert look() == []
    assert not Diagnosis.objects.exists()
    assert Host.objects.get().state == Host.State.UNKNOWN


def test_a_slow_look_does_not_replace_what_a_later_one_found(
    admin_client: Client, host: Host, meanwhile: Meanwhile, tmp_path: Path
) -> None:
    elsewhere = make_mailroot(tmp_path / "elsewhere")
    pair = issued_pair()
    write_pair(elsewhere, *files(pair))

    def moved_and_back() -> None:
        """Only when they began tells these two looks apart."""
        Host.objects.update(mailroot=str(elsewhere))
        look()
        Host.objects.update(mailroot=host.mailroot)

    look()
    meanwhile(moved_and_back)
    assert look() == []
    assert Diagnosis.objects.get().facts["pair"]["sha256"] == pair.sha256
    assert "the matching server certificate are installed" in text(
        admin_client.get(host.get_absolute_url())
    )
    (newest,) = look()
    assert newest.facts["pair"]["sha256"] == ""


def test_a_look_that_was_kept_before_the_clock_was_set_back_is_replaced(host: Host) -> None:
    look()
    Diagnosis.objects.update(at=F("at") + timedelta(hours=1), findings=[])
    assert len(look()) == 1
    assert Diagnosis.objects.get().findings


def test_the_command_names_the_hosts_of_which_nothing_is_kept(
    host: Host, meanwhile: Meanwhile, tmp_path: Path
) -> None:
    local_host(tmp_path, "mail2")
    move = Host.objects.filter(name="mail1").update
    meanwhile(lambda: move(mailroot="/elsewhere"))
    done = run("diagnose_hosts")
    assert done.status == 0
    assert "mail1: it was changed, deleted or looked at anew meanwhile" in done.out
    assert "mail2: WARNING" in done.out
    meanwhile(lambda: move(mailroot=host.mailroot))
    assert run_json("diagnose_hosts").json["not_kept"] == ["mail1"]
