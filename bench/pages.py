"""Pages with a large portal behind them: queries, server time, bytes."""

from __future__ import annotations

import statistics
import time
from importlib import import_module
from typing import Any

from bench.furniture import furnish
from bench.measure import met, table

MOST_QUERIES, MOST_MS, MOST_KB = 12, 100, 150
HOSTS, PAIRS = 10_000, 1_000


def addresses() -> list[str]:
    """The pages, first and later ones of the lists, and details with the most behind them."""
    from hosts.models import Deployment, Host, Installation

    big = Deployment.objects.order_by("pk")[1]
    row = Installation.objects.filter(deployment=big).order_by("pk")[0]
    return [
        "/", "/hosts/", "/hosts/?page=100", "/matrix/", "/matrix/?page=100", "/diagnosis/",
        "/history/", "/history/?page=300", f"/history/?host={row.host_id}",
        f"/history/?pair={big.pair_id}", f"/history/{row.pk}/", "/pairs/", f"/pairs/{big.pair_id}/",
        f"/pairs/{big.pair_id}/install/", "/pairs/new/", "/deployments/", f"/deployments/{big.pk}/",
        f"/deployments/{big.pk}/?page=100", f"/hosts/{Host.objects.order_by('pk')[1].pk}/",
        "/guide/", "/clients/", "/audit/", "/audit/?page=100",
    ]  # fmt: skip


def walk(installations: int, times: int) -> str:
    """Returns the table of pages as the administrator sees them."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from tests import signed_sessions
    from xmailadmin.models import User
    from xmailadmin.prepare import first_administrator

    signed_sessions.install()
    first_administrator()
    furnish(HOSTS, PAIRS, installations)
    import_module("xmailadmin.asgi")  # what the server does before its first page
    client: Any = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.get(is_superuser=True))
    rows: list[list[object]] = []
    for page in addresses():
        client.get(page)
        taken = []
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(page)
            asked = len(queries)
        for _ in range(8 * times):
            began = time.perf_counter()
            answer = client.get(page)
            taken.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (page, answer.status_code)
        p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
        kilobytes = len(answer.content) / 1000
        good = asked <= MOST_QUERIES, p95 <= MOST_MS, kilobytes <= MOST_KB
        rows.append([page, asked, statistics.median(taken), p95, kilobytes, met(*good)])
    head = ["page", f"queries (≤ {MOST_QUERIES})", "median ms", f"p95 ms (≤ {MOST_MS})"]
    behind = f"{HOSTS:,} hosts, {PAIRS:,} pairs, {installations:,} installations:\n\n"
    return behind + table([*head, f"kB (≤ {MOST_KB})", "met?"], rows)
