"""Pages with a large portal behind them: queries, server time, bytes."""

from __future__ import annotations

import statistics
import time
from typing import Any

from bench.measure import table

PAGES = (
    "/", "/hosts/", "/hosts/?page=100", "/matrix/", "/diagnosis/", "/history/", "/history/?page=50",
    "/pairs/", "/pairs/1/", "/deployments/", "/deployments/1/",
)  # fmt: skip


def furnish(hosts: int, pairs: int, installations: int) -> None:
    """Fills the database as years of use would."""
    from django.db import transaction
    from django.utils import timezone

    from certs.models import Pair
    from hosts.models import Deployment, Diagnosis, Host, Installation
    from tests.factories import issued_pair

    first = issued_pair()
    common = {
        field.name: getattr(first, field.name)
        for field in Pair._meta.concrete_fields
        if field.name not in ("id", "content_sha256", "token", "lease_until", "common_name")
    }
    Pair.objects.bulk_create(
        [Pair(**common, common_name=f"m{number}.dojo.jp") for number in range(pairs - 1)],
        batch_size=500,
    )
    now = timezone.now()
    chosen = list(Pair.objects.order_by("pk"))
    Host.objects.bulk_create(
        [
            Host(
                name=f"host{number:05}", mailroot=f"/srv/{number}", pair=chosen[number % pairs],
                installed_at=now, state="ok" if number % 50 else "warning",
            )
            for number in range(hosts)
        ],
        batch_size=500,
    )  # fmt: skip
    rows = list(Host.objects.order_by("pk"))
    from hosts.facts import Facts
    from hosts.messages import Message

    facts = Facts.unreachable(Message("probe.not_tried"), rows[0].endpoints, None).to_json()
    Diagnosis.objects.bulk_create(
        [Diagnosis(host=row, facts=facts, findings=[]) for row in rows], batch_size=500
    )
    made = 0
    while made < installations:
        count = min(hosts, installations - made)
        with transaction.atomic():
            deployment = Deployment.objects.create(
                pair=chosen[made // hosts % pairs], created_by_name="system", finished_at=now
            )
            Installation.objects.bulk_create(
                [
                    Installation(
                        deployment=deployment, host=row, host_name=row.name,
                        pair_id=deployment.pair_id, status="INSTALLED", finished_at=now,
                        message={"code": "install.installed_quiet", "params": {}},
                    )
                    for row in rows[:count]
                ],
                batch_size=1000,
            )  # fmt: skip
        made += count


def walk(times: int) -> str:
    """Returns the table of pages as the administrator sees them."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from xmailadmin.prepare import first_administrator

    first_administrator()
    from xmailadmin.models import User

    client: Any = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.get(is_superuser=True))
    rows = []
    for page in PAGES:
        client.get(page)
        taken = []
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(page)
        for _ in range(times):
            began = time.perf_counter()
            answer = client.get(page)
            taken.append((time.perf_counter() - began) * 1000)
        p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
        rows.append(
            [
                page, answer.status_code, len(queries), statistics.median(taken), p95,
                len(answer.content) / 1000,
            ]
        )  # fmt: skip
    return table(["page", "status", "queries", "median ms", "p95 ms", "kB"], rows)
