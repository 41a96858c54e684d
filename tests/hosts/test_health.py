"""What machines are told that watch the portal, and what people are told when a part is missing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.models import Value
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings

from hosts import deploy, health
from hosts.models import Heartbeat, Host
from hosts.models.heartbeat import HeartbeatManager
from tests import people
from tests.factories import issued_pair, local_host
from xmailadmin import celery, vault

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")
    monkeypatch.setattr(health._Last, "at", float("-inf"))
    monkeypatch.setattr(health._Last, "keys_at", float("-inf"))


@pytest.fixture
def _all_well() -> None:
    Heartbeat.objects.beat("ticker")
    Heartbeat.objects.beat("worker")


def ready() -> tuple[int, dict[str, str]]:
    response = Client().get("/readyz")
    return response.status_code, json.loads(response.content)["parts"]


def test_alive_asks_nobody() -> None:
    with CaptureQueriesContext(connection) as queries:
        response = Client().get("/healthz")
    assert (response.status_code, json.loads(response.content)) == (200, {"status": "ok"})
    assert len(queries) == 0
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.usefixtures("_all_well")
def test_ready_when_every_part_is() -> None:
    assert ready() == (200, dict.fromkeys(health.PARTS, "ok"))


@pytest.mark.usefixtures("_all_well")
@pytest.mark.parametrize("part", ["ticker", "worker"])
def test_a_part_that_is_silent_is_named(part: str) -> None:
    Heartbeat.objects.filter(part=part).update(at=timezone.now() - timedelta(minutes=2))
    assert ready() == (503, dict.fromkeys(health.PARTS, "ok") | {part: "silent"})


@pytest.mark.usefixtures("_all_well")
def test_without_a_broker_nobody_can_tell_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery, "waiting_messages", lambda: None)
    Heartbeat.objects.filter(part="worker").delete()
    status, parts = ready()
    assert status == 503
    assert (parts["broker"], parts["worker"], parts["ticker"]) == ("unreachable", "unknown", "ok")


@pytest.mark.usefixtures("_all_well")
def test_a_missing_key_and_a_wrong_clock_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> list[str]:
        raise vault.VaultError("there is none")

    monkeypatch.setattr(vault, "key_ids", missing)
    monkeypatch.setattr(health, "clock_difference_s", lambda: -86400.0)
    status, parts = ready()
    assert (status, parts["master_key"], parts["clock"]) == (503, "missing", "differs")


@pytest.mark.usefixtures("_all_well")
def test_another_key_than_the_one_that_sealed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    issued_pair()
    assert ready()[1]["master_key"] == "ok"
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "B" * 42 + "A=")
    monkeypatch.setattr(health._Last, "at", float("-inf"))
    monkeypatch.setattr(health._Last, "keys_at", float("-inf"))
    status, parts = ready()
    assert (status, parts["master_key"]) == (503, "missing")


def test_a_database_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_self: object) -> set[str]:
        raise OperationalError("password=secret host=10.0.0.1")

    monkeypatch.setattr(HeartbeatManager, "alive", away)
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert json.loads(response.content)["parts"]["database"] == "unreachable"
    assert b"secret" not in response.content
    assert b"10.0.0.1" not in response.content


def test_one_look_serves_everybody_for_a_while() -> None:
    health.look()
    with CaptureQueriesContext(connection) as queries:
        health.look()
    assert len(queries) == 0


def test_people_are_told_the_cause(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    client = people.signed_in(people.person("viewer"))
    assert "message-warning" not in client.get("/").content.decode()
    settings.EMBEDDED = False
    monkeypatch.setattr(celery, "waiting_messages", lambda: None)
    page = client.get("/").content.decode()
    assert "The message broker does not answer" in page
    assert "No worker has been heard of" not in page, "that only follows from it"


# --- An error page -------------------------------------------------------------------------------


def test_the_reference_of_an_error_page_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("hosts.views.history.InstallationFilter", broken)
    client = people.signed_in(people.person("viewer"))
    client.raise_request_exception = False
    response = client.get("/history/")
    assert response.status_code == 500
    page = response.content.decode()
    reference = page.partition("<code>")[2].partition("</code>")[0]
    assert len(reference) == 36
    assert "ZeroDivisionError" not in page
    assert reference in caplog.text
    assert "a bug of ours" in caplog.text


def test_a_database_that_is_away_is_no_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("server closed the connection: password=secret")

    monkeypatch.setattr("hosts.views.history.InstallationFilter", away)
    client = people.signed_in(people.person("viewer"))
    client.raise_request_exception = False
    response = client.get("/history/")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"
    page = response.content.decode()
    assert "The database does not answer" in page
    assert "secret" not in page


def test_a_question_that_is_too_large_is_not_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_large(*_: object, **__: object) -> None:
        error = OperationalError("too large")
        if connection.vendor == "sqlite":
            raise error from next(_errors("SELECT " + "1+" * 2000 + "1"))
        raise error from psycopg.errors.StatementTooComplex()

    monkeypatch.setattr("hosts.views.history.InstallationFilter", too_large)
    client = people.signed_in(people.person("viewer"))
    client.raise_request_exception = False
    assert client.get("/history/").status_code == 500


def _errors(sql: str) -> Iterator[sqlite3.Error]:
    try:
        sqlite3.connect(":memory:").execute(sql)
    except sqlite3.Error as error:
        yield error


# --- Figures -------------------------------------------------------------------------------------


def figures(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_need_the_token(settings: Settings) -> None:
    assert Client().get("/metrics").status_code == 404, "none is set"
    settings.METRICS_TOKEN = "figures"
    for given in ("", "Bearer", "Bearer wrong", "Basic figures", "figures"):
        response = Client().get("/metrics", headers={"Authorization": given})
        assert (response.status_code, response.content) == (401, b""), given


def test_figures_say_what_waits_and_what_expires(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.METRICS_TOKEN = "figures"
    monkeypatch.setattr(celery, "ring", lambda *_, **__: True)
    hosts = [local_host(tmp_path, f"mail{number}") for number in range(3)]
    pair = issued_pair(days="30")
    Host.objects.filter(pk=hosts[0].pk).update(pair=pair, state="ok")
    Host.objects.filter(pk=hosts[1].pk).update(disabled=Value(True))
    deployment = deploy.create_deployment(pair, hosts, by=None)
    past = timezone.now() - timedelta(minutes=5)
    type(deployment).objects.update(created_at=past)
    response = Client().get("/metrics", headers={"Authorization": "Bearer figures"})
    assert response.headers["Content-Type"].startswith("text/plain")
    found = figures(response.content.decode())
    assert found["xmailadmin_hosts", ("ok",)] == 1
    assert found["xmailadmin_hosts", ("disabled",)] == 1
    assert found["xmailadmin_installations", ("queued",)] == 3
    assert found["xmailadmin_deployments_unfinished", ()] == 1
    assert 299 < found["xmailadmin_queue_age_seconds", ()] < 400
    days = found["xmailadmin_certificate_days_left", ("mail.dojo.jp", str(pair.pk))]
    assert 29 < days <= 30
    assert found["xmailadmin_certificate_hosts", (str(pair.pk),)] == 1
    assert found["xmailadmin_part_up", ("database",)] == 1
