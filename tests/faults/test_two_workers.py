"""Two workers at one host: races, messages delivered again, workers that wake up too late."""

from __future__ import annotations

import itertools
import signal
import time

import pytest

from tests.faults.conftest import Tally
from tests.faults.injection import AMID
from tests.faults.world import World, as_files

STOPS = ("before switch", AMID, "after switch", "after stage", "before read back")


@pytest.mark.slow
def test_two_deployments_race(world: World, everything: bool, tally: Tally) -> None:
    """200 races in all: the hosts of one run are as many races."""
    world.sites = world.sites[:10]
    runs = {"local": 8, "sftp": 6, "ctrl": 6}[world.transport] if everything else 1
    for number in range(runs):
        first, second = world.next_pair(), world.next_pair()
        asked = [world.order(pair=pair) for pair in (first, second)]
        workers = [world.stage.begin("work") for _ in asked]
        for worker in workers:
            worker.result()
        told = [world.stage.do("state", deployment=deployment) for deployment in asked]
        for site, one, two in zip(world.sites, *told, strict=True):
            with tally.run("two deployments race to one host", f"run {number}, host {site.id}"):
                assert (one["status"], two["status"]) == ("INSTALLED", "INSTALLED")
                assert one["finished"] <= two["started"], "both were under way at once"
                assert as_files(two["previous"]) == as_files(first)
                assert site.holds == as_files(second)
                assert (one["attempts"], two["attempts"]) == (1, 1)


@pytest.mark.slow
def test_a_message_delivered_again(world: World, everything: bool, tally: Tally) -> None:
    world.sites = world.sites[:10]
    for times in range(1, 6) if everything else [3]:
        with tally.run("a message delivered 1 to 5 times", f"{times} times"):
            before = {site.id: site.holds for site in world.sites}
            deployment = world.order()
            ids = [row["id"] for row in world.stage.do("state", deployment=deployment)]
            workers = [world.stage.begin("deliver", ids=ids, times=2) for _ in range(times)]
            for worker in workers:
                worker.result()
            for row in world.stage.do("state", deployment=deployment):
                assert row["status"] == "INSTALLED"
                assert row["attempts"] == 1
                assert len(row["steps"]) == len(set(row["steps"])), row["steps"]
            world.check(deployment, before)


@pytest.mark.slow
def test_a_worker_that_wakes_after_its_lease(world: World, everything: bool, tally: Tally) -> None:
    """Its outcomes are refused; what it writes to a host is put right."""
    world.sites = world.sites[:10]
    cases = list(itertools.product(STOPS, (1, 2, 4), (False, True)))
    cases = cases[: {"local": 16, "sftp": 16, "ctrl": 18}[world.transport]]
    for point, number, again in cases if everything else cases[3:4]:
        case = f"{point}, {number}, {'another deployment since' if again else 'none since'}"
        with tally.run(f"a stopped worker wakes after its lease, {world.transport}", case) as run:
            before = {site.id: site.holds for site in world.sites}
            pair = world.next_pair()
            deployment = world.order(pair=pair)
            trap = {"point": point, "number": number, "do": "stop"}
            zombie = world.stage.begin("work", trap=trap)
            assert zombie.stopped(60), f"{point} was never reached"
            world.stage.do("work")
            world.check(deployment, before)
            if again:
                pair = world.next_pair()
                world.order(pair=pair)
                world.stage.do("work")
            recorded = world.stage.do("state", deployment=deployment)
            woken = time.monotonic()
            zombie.signal(signal.SIGCONT)
            zombie.result()
            world.stage.do("work")
            tally.recovered(run, time.monotonic() - woken, lease_s=0)
            after = world.stage.do("state", deployment=deployment)
            for was, now in zip(recorded, after, strict=True):
                assert was | {"recorded": 0, "installed": 0} == now | {
                    "recorded": 0,
                    "installed": 0,
                }
            for site in world.sites:
                newest = world.stage.do("latest", host=site.id)
                told = f"{newest['status']} {newest['code']} {newest['notes']} {newest['steps']}"
                right = site.holds == as_files(pair)
                assert right, f"host {site.id} was not put right: {told}"
                assert as_files(newest["recorded"]) == site.holds
                assert site.leftovers == []
