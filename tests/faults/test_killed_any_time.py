"""kill -9, SIGTERM and a clock that is wrong, at moments that nobody chose."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.faults.conftest import Tally
from tests.faults.test_killed_worker import hold_something
from tests.faults.world import World, as_files

RUNS = {"local": 100, "sftp": 50, "ctrl": 50}


@pytest.mark.slow
def test_killed_at_a_random_time(world: World, everything: bool, tally: Tally) -> None:
    sites = world.sites[:20]
    world.sites = sites
    began = time.monotonic()
    world.order()
    world.stage.do("work")
    usual_s = time.monotonic() - began
    for seed in range(RUNS[world.transport] if everything else 1):
        with tally.run("kill -9 of the whole process at a random time", f"seed {seed}") as run:
            before = hold_something(world, seed)
            pair = world.next_pair()
            deployment = world.order(pair=pair)
            worker = world.stage.begin("work")
            worker.ended(random.Random(seed).uniform(0, usual_s))  # noqa: S311
            worker.signal(signal.SIGKILL)
            assert worker.ended(10)
            died = time.monotonic()
            world.stage.begin("work").result()
            tally.recovered(run, time.monotonic() - died)
            world.check(deployment, before)
            assert {site.holds for site in sites} == {as_files(pair)}


@pytest.mark.slow
@pytest.mark.parametrize("world", ["local", "sftp"], indirect=True)
def test_told_to_stop(world: World, everything: bool, tally: Tally) -> None:
    """SIGTERM: what is begun is finished or handed over."""
    for seed in range(10 if everything else 1):
        with tally.run("SIGTERM during a deployment", f"seed {seed}") as run:
            before = hold_something(world, seed)
            pair = world.next_pair()
            deployment = world.order(pair=pair)
            worker = world.stage.begin("work_until_stopped")
            worker.ended(random.Random(seed).uniform(0, 1.5))  # noqa: S311
            told = time.monotonic()
            worker.signal(signal.SIGTERM)
            assert worker.ended(30), "it has not stopped within 30 s"
            run.worst_s = max(run.worst_s, time.monotonic() - told)
            world.check(deployment, before)
            world.stage.do("work")
            world.check(deployment, before)
            assert {site.holds for site in world.sites} == {as_files(pair)}


@pytest.mark.slow
@pytest.mark.parametrize("world", ["local"], indirect=True)
def test_a_clock_that_is_a_day_wrong(world: World, everything: bool, tally: Tally) -> None:
    """Neither is a live worker thought dead, nor a dead one alive."""
    for seed in range(10 if everything else 1):
        day_s = 86400 * (-1 if seed % 2 else 1)
        with tally.run("clock a day wrong", f"{day_s} s") as run:
            before = {site.id: site.holds for site in world.sites}
            deployment = world.order()
            pause = {"point": "after stage", "do": "pause", "seconds": 5.0}
            live = world.stage.begin("work_in_time", shift_s=day_s, trap=pause)
            live.ended(1)
            other = world.stage.begin("work")
            live.result()
            other.result()
            rows = world.stage.do("state", deployment=deployment)
            assert {row["attempts"] for row in rows} == {1}, "a live worker was thought dead"
            world.check(deployment, before)
            before = {site.id: site.holds for site in world.sites}
            deployment = world.order()
            dead = world.stage.begin(
                "work_in_time", shift_s=day_s, trap={"point": "after switch", "number": 2}
            )
            assert dead.ended(60)
            assert dead.was_killed
            died = time.monotonic()
            world.stage.do("work")
            tally.recovered(run, time.monotonic() - died)
            world.check(deployment, before)
