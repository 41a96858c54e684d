"""Two workers do a deployment to slow hosts in nearly half the time of one."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.grown import Grown
from tests.operations.fleet import fleet, race

pytestmark = pytest.mark.faults
HOSTS, ANSWER_S, TIMES = 200, 0.2, 3
GAIN = 1.8


def test_two_workers_need_little_more_than_half_the_time(parts: Grown, tmp_path: Path) -> None:
    parts.start(workers=0)
    with fleet(parts, tmp_path, hosts=HOSTS, delay_s=ANSWER_S) as hosts:
        took = race(parts, hosts, times=TIMES)
    assert median(took[1]) / median(took[2]) >= GAIN, took
