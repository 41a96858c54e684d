"""Whoever waits for a host keeps no connection to the database from everybody else."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse

from hosts import waiting
from hosts.models import Host
from tests.factories import local_host
from tests.hosts.pages import edit
from tests.hosts.test_views_hosts import fields
from tests.portal import Portal
from tests.visitor import Visitor
from xmailadmin.postgresql.connection import OPTIONS

MANY = OPTIONS["pool"]["max_size"] + 5
REMOTE = {"transport": "sftp", "user": "xmail", "trust_fingerprint": "ab" * 32}


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Says "closed" each time; a test itself is within a transaction."""
    happened: list[str] = []
    outside = SimpleNamespace(in_atomic_block=False, close=lambda: happened.append("closed"))
    monkeypatch.setattr(waiting, "connection", outside)
    return happened


@pytest.mark.django_db
def test_each_page_that_waits_for_a_host_closes_it(
    admin_client: Client, tmp_path: Path, closed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")
    host = local_host(tmp_path, "mail1")
    admin_client.post(reverse("host_mailroot_check"), fields(tmp_path / "other"))
    admin_client.post(reverse("host_add"), fields(tmp_path / "other", name="mail2"))
    edit(admin_client, host, fields(tmp_path / "moved"))
    admin_client.post(reverse("host_adopt", args=[host.pk]))
    admin_client.post(reverse("host_mend", args=[host.pk]))
    assert closed == ["closed"] * 5
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    Host.objects.update(port=port, **REMOTE)
    address = reverse("host_reenrol", args=[host.pk])
    for sent in ({}, {"confirmed": "ab" * 32}):
        admin_client.post(address, sent)
    assert closed == ["closed"] * 7


@pytest.mark.slow
def test_many_who_wait_for_a_silent_host_leave_the_portal_to_the_others(
    new_portal: Portal, postgres_database: str
) -> None:
    new_portal.extra_environment = {"DATABASE_URL": postgres_database}
    with new_portal.up(), socket.create_server(("127.0.0.1", 0), backlog=MANY) as silent:
        visitor = Visitor(new_portal)
        visitor.sign_in()
        port = str(silent.getsockname()[1])
        sent = {**fields("/var/MailRoot", port=port), **REMOTE, "password": "secret"}
        words = {name: str(value) for name, value in sent.items()}

        def check(_: int) -> int:
            return visitor.post("/hosts/check/", "/hosts/add/", **words).status

        with ThreadPoolExecutor(MANY) as pool:
            answers = pool.map(check, range(MANY))
            silent.settimeout(60)
            waiting = [silent.accept()[0] for _ in range(MANY)]  # all of them are there now
            try:
                page = visitor.get("/hosts/")
            finally:
                for each in waiting:
                    each.close()
            assert page.status == 200
            assert set(answers) == {200}
