"""What hosts does when certs has news."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from certs.models import Pair
from certs.signals import pair_finished
from hosts import turns


@receiver(pair_finished)
def begin_waiting_deployments(pair: Pair, **_: Any) -> None:
    """Rings for the deployments that waited for the pair, or ends them if it failed."""
    turns.settle(pair.deployments.all())
    for deployment in pair.deployments.filter(finished_at=None):
        waiting = turns.ready().filter(deployment=deployment).order_by("pk")
        turns.ring(list(waiting.values_list("pk", flat=True)), deployment)
