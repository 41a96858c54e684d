"""Fills a database as years of use would: one real row of everything, copied by the database."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.portal import HOME
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail

ENDPOINTS = ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrls")
AUDITED = 100_000


def furnish(hosts: int, pairs: int, installations: int) -> None:
    """Leaves so many rows; every deployment was to every host."""
    from django.db import connection

    from certs.models import Pair
    from hosts.models import Deployment, Diagnosis, Host, Installation
    from xmailadmin import audit_seal
    from xmailadmin.models import AuditEntry, AuditHead

    row = _one_of_everything()
    first_host, first_pair = row.host_id, row.pair_id
    deployments = -(-installations // hosts)
    last_pair = _copy(
        Pair, first_pair, pairs - Pair.objects.count(),
        common_name="'m' || i || '.dojo.jp'", content_sha256="'x' || i",
        sha256="substr(t.sha256, 1, 56) || (10000000 + i)",
    )  # fmt: skip
    any_pair = f"{last_pair - pairs + 1} + i % {pairs}"
    last_host = _copy(
        Host, first_host, hosts - 1,
        name="'host' || (100000 + i)", mailroot="'/srv/' || i", pair_id=any_pair,
        state="case when i % 50 = 0 then 'warning' else 'ok' end",
    )  # fmt: skip
    _copy(Diagnosis, row.host.diagnosis.pk, hosts - 1, host_id=f"{last_host - hosts + 1} + i")
    last_deployment = _copy(Deployment, row.deployment_id, deployments, pair_id=any_pair)
    turn = f"((i - 1) / {hosts})"
    _copy(
        Installation, row.pk, installations - 1,
        deployment_id=f"{last_deployment - deployments + 1} + {turn}",
        pair_id=f"{last_pair - pairs + 1} + {turn} % {pairs}",
        host_id=f"{last_host - hosts + 1} + (i - 1) % {hosts}",
        host_name=f"'host' || (100000 + (i - 1) % {hosts})",
        status="case when i % 97 = 0 then 'ROLLED_BACK' else 'INSTALLED' end",
    )  # fmt: skip
    for deployment in Deployment.objects.filter(pk__gt=row.deployment_id):
        deployment.tally = {}
        deployment.tally = deployment.counts()
        deployment.save()
    head = AuditHead.objects.get()
    _copy(
        AuditEntry, AuditEntry.objects.latest("number").pk, AUDITED,
        number=f"{head.number} + i", object_id=f"'' || (1 + i % {hosts})",
    )  # fmt: skip
    AuditHead.objects.update(number=head.number + AUDITED)
    audit_seal.renew(whatever=True)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("vacuum analyze")  # as autovacuum would have, long since


def _one_of_everything() -> Any:
    """Installs a pair on one host that serves everything, and returns the row of that."""
    from hosts import ledger
    from hosts.deploy import create_deployment
    from hosts.models import Diagnosis, Host
    from tests.factories import issued_pair

    held = make_pair()
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        mailroot = make_mailroot(Path(folder) / "m", key=held.key, certificate=held.certificate)
        with XMail(mailroot, services=ENDPOINTS) as xmail:
            ports = {f"{name}_port": xmail.ports[name] for name in ENDPOINTS}
            host = Host.objects.create(name="host1", mailroot=str(mailroot), **ports)
            pair = issued_pair(key_size="rsa-2048", aliases="smtp.dojo.jp pop.dojo.jp")
            deployment = create_deployment(pair, [host], by=None)
            (row,) = ledger.work(deployment)
            Diagnosis.objects.take([host])
    row.refresh_from_db()
    assert row.status == "INSTALLED", row.message
    return row


def _copy(model: Any, pk: int, count: int, **values: str) -> int:
    """Copies a row `count` times with other values, SQL in which i counts from 1, and returns the
    last key."""
    from django.db import connection

    table = model._meta.db_table
    columns = [
        field.column for field in model._meta.concrete_fields if not field.primary_key
    ]  # fmt: skip
    chosen = ", ".join(values.get(name, f't."{name}"') for name in columns)
    quoted = ", ".join(f'"{name}"' for name in columns)
    statement = (
        f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})"
        f' insert into "{table}" ({quoted}) select {chosen} from n, "{table}" t'
        f" where t.id = {pk} order by i"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement)
    last: int = model.objects.order_by("-pk").values_list("pk", flat=True)[0]
    return last
