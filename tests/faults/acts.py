"""What the processes do in which faults are injected: each function is one act of one process.

They run forked from tests/faults/stage.py, on the portal's own settings and database file, take
and return what JSON can say, and are the only part of these tests that uses Django.
"""

from __future__ import annotations

import base64
import signal
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from certs.models import Pair, lease
from certs.spec import PairSpec
from hosts import addresses, deploy, fan_out, ledger, turns
from hosts.models import Deployment, Diagnosis, Host, Installation
from xmailadmin import prepare as portal

Json = dict[str, Any]


def shorten_lease(seconds: float) -> None:
    """Have dead workers replaced sooner than the portal would, so that a test need not wait."""
    for module in (lease, ledger):
        module.LEASE = timedelta(seconds=seconds)  # type: ignore[attr-defined]
    lease.LONGEST = 16 * timedelta(seconds=seconds)


def prepare() -> None:
    """A data directory with a database and a master key."""
    portal.prepare()


def enrol(hosts: Sequence[Json]) -> list[int]:
    """Register hosts; "secrets" are sealed."""
    ids = []
    for values in hosts:
        fields = dict(values)
        secrets = fields.pop("secrets", {})
        host = Host.objects.create(**fields)
        host.keep_secrets(**secrets)
        ids.append(host.pk)
    return ids


def change(host: int, **values: Any) -> None:
    """Change fields of a host."""
    Host.objects.filter(pk=host).update(**values)


def make_pairs(count: int) -> list[Json]:
    """Pairs as the portal makes them, with their bytes for the test to compare."""
    spec = PairSpec.parse(
        {
            "country": "JP", "state": "Tokyo", "locality": "Shibuya-ku", "organization": "Faults",
            "common_name": "mail.dojo.jp", "key_size": "ec-256", "days": "825",
        }
    )  # fmt: skip
    made = []
    for _ in range(count):
        pair = Pair.objects.request(spec, by=None)
        pair.make()
        pair.refresh_from_db()
        made.append({"id": pair.pk, "sha256": pair.sha256, **_files(pair)})
    return made


def order(pair: int, hosts: Sequence[int], trust: Mapping[str, str] | None = None) -> int:
    """Ask for a deployment; `trust` are certificates that hosts were given by hand before."""
    for host, sha256 in (trust or {}).items():
        Host.objects.filter(pk=int(host)).update(trust_fingerprint=sha256)
    rows = Host.objects.filter(pk__in=hosts).order_by("pk")
    return deploy.create_deployment(Pair.objects.get(pk=pair), rows, by=None).pk


def roll_back(deployment: int) -> int | str:
    """Undo a deployment; returns the new one, or the code of the refusal."""
    try:
        return deploy.rollback_deployment(Deployment.objects.get(pk=deployment), by=None).pk
    except deploy.NothingToRollBack as refused:
        return refused.message.code


def work(within_s: float = 120, beat_s: float = 0.1, strict: bool = False) -> float:
    """Be a worker with its ticker until nothing is left to do; returns after how many seconds.

    `strict` has CTRL treat 127.0.0.1 like any other address, over which no key goes in clear.
    """
    if strict:
        addresses.is_loopback = lambda ip: False
    began = time.monotonic()
    while Installation.objects.filter(status__in=Installation.UNFINISHED).exists():
        if time.monotonic() - began > within_s:
            raise TimeoutError
        if not ledger.run_next():
            turns.settle(Deployment.objects.all())
            time.sleep(beat_s)
    turns.settle(Deployment.objects.all())
    return time.monotonic() - began


def deliver(ids: Sequence[int], times: int) -> None:
    """Get the same message so many times, as tasks.install_hosts does."""
    for _ in range(times):
        ledger.run(ids)


def carry_out(deployment: int, strict: bool = False) -> None:
    """Be the command that does a deployment by itself."""
    if strict:
        addresses.is_loopback = lambda ip: False
    for _ in ledger.work(Deployment.objects.get(pk=deployment)):
        pass


def work_in_time(shift_s: float) -> float:
    """Be a worker whose clock is wrong by so many seconds."""
    right, now = time.time, timezone.now
    time.time = lambda: right() + shift_s
    timezone.now = lambda: now() + timedelta(seconds=shift_s)
    return work()


def work_until_stopped() -> None:
    """Be a worker that obeys SIGTERM as the portal does."""
    signal.signal(signal.SIGTERM, lambda *_: ledger.stop())
    while not fan_out.stopping.is_set():
        ledger.run_next()
        time.sleep(0.05)


def then(*acts: Sequence[Any]) -> list[Any]:
    """One act after the other: each a name and its arguments."""
    return [globals()[name](**arguments) for name, arguments in acts]


def state(deployment: int) -> list[Json]:
    """What the database says of each host of a deployment."""
    rows = Installation.objects.filter(deployment=deployment).order_by("pk")
    return [
        {
            "id": row.pk,
            "host": row.host_id,
            "status": row.status,
            "attempts": row.attempts,
            "adopted": row.adopted,
            "token": row.token,
            "code": (row.message or {}).get("code", ""),
            "params": (row.message or {}).get("params", {}),
            "notes": [note["code"] for note in row.notes],
            "steps": [step["step"] for step in row.steps],
            "started": row.started_at.isoformat() if row.started_at else "",
            "finished": row.finished_at.isoformat() if row.finished_at else "",
            "took_s": _seconds(row),
            "pair": _files(row.pair),
            "previous": _files(row.previous_pair),
            "recorded": _files(row.host.pair if row.host else None),
            "installed": row.host is not None and row.host.pair_id == row.pair_id,
            "key_open": row.host is not None and row.host.key_open,
            "host_token": row.host.token if row.host else "",
        }
        for row in rows.select_related("pair", "previous_pair", "host__pair")
    ]


def latest(host: int) -> Json:
    """What the database says of the newest installation on a host."""
    row = Installation.objects.filter(host=host).order_by("-pk").first()
    assert row is not None
    (found,) = [each for each in state(row.deployment_id) if each["id"] == row.pk]
    return found | {"deployment": row.deployment_id}


def diagnose(host: int) -> list[str]:
    """The codes of what a diagnosis finds."""
    Diagnosis.objects.take(Host.objects.filter(pk=host))
    found = Diagnosis.objects.filter(host=host).latest("pk")
    return [finding["code"] for finding in found.findings]


def unfinished() -> int:
    """How many installations are still to be done."""
    return Installation.objects.filter(status__in=Installation.UNFINISHED).count()


def _seconds(row: Installation) -> float:
    if row.finished_at is None or row.started_at is None:
        return 0.0
    return (row.finished_at - row.started_at).total_seconds()


def _files(pair: Pair | None) -> Json:
    if pair is None:
        return {"key": None, "certificate": None}
    return {"key": _text(pair.private_key()), "certificate": _text(pair.certificate_pem)}


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
