"""Two workers do a deployment to slow hosts in nearly half the time of one."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.grown import Grown
from tests.operations.fleet import check_whole, done, fleet, until

pytestmark = pytest.mark.faults
HOSTS, ANSWER_S, TIMES = 200, 0.2, 3
GAIN = 1.8


def seconds(portal: Grown, deployment: int) -> float:
    ((took,),) = portal.rows(
        "select extract(epoch from max(finished_at) - min(started_at))"
        " from hosts_installation where deployment_id = %s",
        deployment,
    )
    return float(took)


def test_two_workers_need_little_more_than_half_the_time(parts: Grown, tmp_path: Path) -> None:
    """Each works on one chunk at a time: four chunks are two rounds instead of four."""
    parts.start(workers=0)
    took: dict[int, list[float]] = {1: [], 2: []}
    with fleet(parts, tmp_path, hosts=HOSTS, delay_s=ANSWER_S) as hosts:
        for workers, times in took.items():
            parts.add_worker("--concurrency", "1")
            for _ in range(TIMES):
                number = hosts.order()
                until("the deployment is finished", lambda n=number: done(parts, n), 180)  # type: ignore[misc]
                times.append(seconds(parts, number))
            check_whole(hosts, number, undisturbed=True)
            assert len(parts.workers) == workers
    print(f"\n{HOSTS} hosts, {ANSWER_S} s an answer: {took}")  # noqa: T201
    assert median(took[1]) / median(took[2]) >= GAIN, took
