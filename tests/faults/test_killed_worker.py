"""kill -9 of a worker at each boundary of an installation, with many hosts under way."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.conftest import Tally
from tests.faults.injection import AMID, POINTS
from tests.faults.world import NOTHING, Files, World, as_files, foreign_pair

SEEDS = 5


def hold_something(world: World, seed: int) -> dict[int, Files]:
    """What lies on the hosts before: mostly what the portal installed, else what it never saw."""
    draw = random.Random(seed)  # noqa: S311
    for site in world.sites:
        site.close_key()
    if seed % SEEDS == 1:
        for site in world.sites:
            site.hold(foreign_pair())
    elif seed % SEEDS == 2:
        for site in draw.sample(world.sites, len(world.sites) // 2):
            site.hold(NOTHING)
    elif seed % SEEDS == 3:
        for site in draw.sample(world.sites, len(world.sites) // 2):
            site.hold((site.holds[0], foreign_pair()[1]))
    return {site.id: site.holds for site in world.sites}


@pytest.mark.slow
def test_killed_at_a_boundary(world: World, everything: bool, tally: Tally) -> None:
    fault = f"kill -9 before/after each boundary, {world.transport}"
    points = [*POINTS, AMID] if everything else [AMID]
    for point in points:
        for seed in range(SEEDS if everything else 1):
            with tally.run(fault if point != AMID else f"{fault}, amid", f"{point} {seed}") as run:
                before = hold_something(world, seed)
                pair = world.next_pair()
                deployment = world.order(pair=pair)
                single = "claim" in point
                draw = random.Random(f"{point}{seed}")  # noqa: S311
                number = 1 if single else draw.randint(1, max(1, len(world.sites) // 2))
                # By CTRL only a host with a pair that works can be reached with TLS alone.
                strict = seed % SEEDS not in (2, 3)
                trap = {"point": point, "number": number}
                worker = world.stage.begin("work", trap=trap, strict=strict)
                assert worker.ended(120), "it was not killed and does not end"
                assert worker.was_killed, f"{point} was never reached"
                died = time.monotonic()
                world.stage.begin("work", strict=strict).result()
                tally.recovered(run, time.monotonic() - died)
                world.check(deployment, before)
                for site in world.sites:
                    assert site.holds == as_files(pair), f"host {site.id} has not got the pair"
