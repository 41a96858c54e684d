"""Figures for Prometheus, counted in the database when they are asked for.

They describe the portal as a whole, not one process, so any web server may be asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from certs.models import Pair
from hosts.health import OK, look
from hosts.models import Deployment, Host, Installation
from xmailadmin import celery

__all__ = ["CONTENT_TYPE", "text"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
DAY_S = 24 * 3600


def text() -> bytes:
    """Returns every figure in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Portal())
    return generate_latest(registry)


class _Portal(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from self._parts()
        yield from self._work()
        yield from self._hosts()
        yield from self._expiry()

    def describe(self) -> list[Metric]:
        return []  # nothing is counted before somebody asks

    def _parts(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("xmailadmin_part_up", "1 if the part is in order", labels=["part"])
        for part, state in look().parts.items():
            up.add_metric([part], float(state == OK))
        yield up

    def _work(self) -> Iterator[Metric]:
        open_ = Deployment.objects.filter(finished_at=None).count()
        yield _gauge("deployments_unfinished", "Deployments with hosts still to do", open_)
        yield _gauge("deployments", "Deployments ever asked for", Deployment.objects.count())
        rows = GaugeMetricFamily(
            "xmailadmin_installations", "Installations by what became of them", labels=["status"]
        )
        found = dict(Installation.objects.order_by().values_list("status").annotate(Count("pk")))
        for status in Installation.Status.values:
            rows.add_metric([status.lower()], found.get(status, 0))
        yield rows
        waiting = Pair.objects.filter(status=Pair.Status.QUEUED).count()
        yield _gauge("pairs_waiting", "Pairs that no worker has begun to make", waiting)
        yield _gauge("queue_age_seconds", "Age of what waits longest for a worker", _queue_age())
        messages = celery.waiting_messages()
        if messages is not None:
            yield _gauge("broker_messages", "Messages that no worker has taken yet", messages)

    def _hosts(self) -> Iterator[Metric]:
        hosts = GaugeMetricFamily(
            "xmailadmin_hosts", "Hosts by what their last diagnosis came to", labels=["state"]
        )
        counted = Host.objects.order_by().values_list("state")
        found = dict(counted.filter(disabled=False).annotate(Count("pk")))
        for state in Host.State.values:
            hosts.add_metric([state], found.get(state, 0))
        hosts.add_metric(["disabled"], Host.objects.filter(disabled=True).count())
        yield hosts

    def _expiry(self) -> Iterator[Metric]:
        days = GaugeMetricFamily(
            "xmailadmin_certificate_days_left",
            "Days until a certificate that is installed on hosts expires",
            labels=["pair", "common_name"],
        )
        on_hosts = GaugeMetricFamily(
            "xmailadmin_certificate_hosts", "Hosts that hold the certificate", labels=["pair"]
        )
        used = Pair.objects.annotate(used=Count("hosts", filter=Q(hosts__disabled=False)))
        now = timezone.now()
        for pair in used.filter(used__gt=0, not_after__isnull=False).only(
            "common_name", "not_after"
        ):
            assert pair.not_after is not None  # noqa: S101  filtered above
            left = (pair.not_after - now).total_seconds() / DAY_S
            days.add_metric([str(pair.pk), pair.common_name], round(left, 3))
            on_hosts.add_metric([str(pair.pk)], pair.used)
        yield days
        yield on_hosts


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"xmailadmin_{name}", meaning, value=value)


def _queue_age() -> float:
    """Returns how long the installation or pair that waits longest has been waiting."""
    queued = Installation.objects.filter(status=Installation.Status.QUEUED)
    ages = [
        queued.order_by().aggregate(oldest=Min("deployment__created_at"))["oldest"],
        Pair.objects.filter(status=Pair.Status.QUEUED).aggregate(oldest=Min("created_at"))[
            "oldest"
        ],
    ]
    oldest = [at for at in ages if at is not None]
    return max(0.0, (timezone.now() - min(oldest)).total_seconds()) if oldest else 0.0
