"""Parts of a grown portal killed and frozen in the midst of a deployment to 100 hosts.

Afterwards every host holds the new pair whole, nothing was lost and nothing was done twice.
One of each runs with the other tests; `make faults` runs them as often as it takes to believe it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.grown import Grown, grown
from tests.operations.fleet import (
    Fleet,
    check_recorded,
    check_whole,
    done,
    fleet,
    rows,
    under_way,
    until,
)
from tests.visitor import Page, Visitor

HOSTS = 100
DAY_S = 24 * 3600
CLOCK = str(Path(__file__).parent / "clock")
RESUMED_WITHIN_S = 60
BROKER = "The message broker does not answer"


def often(count: int, *, sample: bool = True) -> pytest.MarkDecorator:
    """Runs a test `count` times with `make faults`, and once with the other tests if `sample`."""
    runs = [pytest.param(run, marks=pytest.mark.faults) for run in range(1, count + 1)]
    return pytest.mark.parametrize("run", [pytest.param(0, id="sample"), *runs] if sample else runs)


@dataclass
class Stack:
    """A grown portal with two tickers and two workers, whose clocks are a day apart, and hosts."""

    portal: Grown
    fleet: Fleet
    visitor: Visitor
    watcher: Visitor  # not signed in

    def begin(self, seed: int = 0) -> int:
        """Asks for a deployment and returns it as soon as it is under way."""
        number = self.fleet.order()
        share = random.Random(seed).randint(5, HOSTS * 3 // 4)  # noqa: S311
        until("hosts are being switched", lambda: under_way(self.portal, number, share))
        return number

    def mend(self) -> None:
        """Starts whatever is not running."""
        portal = self.portal
        for part in (portal.postgres, portal.redis, portal.web, *portal.workers, *portal.tickers):
            if part.process is not None and part.process.poll() is None:
                part.thaw()
            else:
                part.start()

    def wait(self, number: int) -> None:
        until(
            f"deployment {number} is resumed and finished",
            lambda: done(self.portal, number),
            RESUMED_WITHIN_S + 30,
        )

    def finish(self, number: int, *, undisturbed: bool = False) -> None:
        self.wait(number)
        # A worker that finds that it was overtaken has the host put right by one more deployment.
        unfinished = "select count(*) from hosts_deployment where finished_at is null"
        until(
            "all is put right",
            lambda: self.portal.rows(unfinished) == [(0,)],
            RESUMED_WITHIN_S,
        )
        check_whole(self.fleet, number, undisturbed=undisturbed)

    def page(self, path: str, within_s: float, holds: Callable[[Page], bool]) -> Page:
        """Returns the page once it says what it should; each answer comes within `within_s`."""

        def seen() -> Page | None:
            page = self.visitor.get(path)
            assert page.took_s < within_s, (path, page.status, page.took_s)
            assert "Traceback" not in page.text
            return page if holds(page) else None

        found: Page = until(f"{path} says so", seen, 20)
        return found


@pytest.fixture(scope="module")
def _stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("faults")
    with grown(directory / "grown") as portal:
        portal.start(workers=1, tickers=2)
        portal.add_worker(PYTHONPATH=CLOCK, TEST_CLOCK=str(DAY_S))
        with fleet(portal, directory, hosts=HOSTS, delay_s=0.3) as hosts:
            visitor = Visitor(portal)
            visitor.sign_in()
            yield Stack(portal, hosts, visitor, Visitor(portal))


@pytest.fixture
def stack(_stack: Stack) -> Iterator[Stack]:
    _stack.mend()
    yield _stack
    _stack.mend()


@often(10)
def test_two_tickers_and_clocks_a_day_apart_do_each_host_once(stack: Stack, run: int) -> None:
    number = stack.fleet.order()
    stack.finish(number, undisturbed=True)


@often(20)
def test_a_worker_that_is_told_to_stop_hands_over(stack: Stack, run: int) -> None:
    number = stack.begin(run)
    worker = stack.portal.workers[run % 2]
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 30
    stack.finish(number)


@often(20, sample=False)
def test_a_worker_that_is_killed_loses_nothing(stack: Stack, run: int) -> None:
    number = stack.begin(run)
    stack.portal.workers[run % 2].kill()
    stack.finish(number)


@often(5, sample=False)
def test_a_web_server_that_is_killed_stops_no_work(stack: Stack, run: int) -> None:
    number = stack.begin(run)
    stack.portal.web.kill()
    stack.finish(number, undisturbed=True)
    stack.portal.web.start()
    assert stack.visitor.get(f"/deployments/{number}/").status == 200


@often(20)
def test_a_broker_that_is_killed_loses_nothing_and_is_named(stack: Stack, run: int) -> None:
    number = stack.begin(run)
    stack.portal.redis.kill()
    stack.page(f"/deployments/{number}/", 2, lambda page: BROKER in page.text)
    second = stack.fleet.order()  # asked for while nobody can be rung
    stack.portal.redis.start()
    stack.wait(number)
    check_recorded(stack.portal, number)  # its hosts may be changed again by now
    stack.finish(second)


@often(10, sample=False)
def test_a_broker_that_is_frozen_keeps_no_page_waiting(stack: Stack, run: int) -> None:
    number = stack.begin(run)
    stack.portal.redis.freeze()
    began = time.monotonic()
    stack.page("/", 2, lambda page: BROKER in page.text)
    assert stack.portal.status("/healthz") == 200
    ready = stack.watcher.get("/readyz")
    assert ready.status == 503
    assert ready.took_s < 2
    assert '"broker": "unreachable"' in ready.text
    if run:
        time.sleep(max(0.0, began + 60 - time.monotonic()))
    stack.portal.redis.thaw()
    stack.finish(number)
    stack.page("/", 2, lambda page: BROKER not in page.text)


@often(10)
def test_a_frozen_database_is_named_within_10_seconds(stack: Stack, run: int) -> None:
    number = stack.begin(run)
    stack.portal.postgres.freeze()
    page = stack.page("/hosts/", 10, lambda page: page.status == 503)
    assert "The database does not answer" in page.text
    assert stack.portal.status("/healthz") == 200
    ready = stack.watcher.get("/readyz")
    assert ready.status == 503
    assert ready.took_s < 10
    assert '"database": "unreachable"' in ready.text
    stack.portal.postgres.thaw()
    stack.finish(number)
    stack.page("/hosts/", 10, lambda page: page.status == 200)


@often(20, sample=False)
def test_a_database_that_was_away_loses_nothing(stack: Stack, run: int) -> None:
    number = stack.begin(run)
    stack.portal.postgres.kill()
    page = stack.page("/hosts/", 10, lambda page: page.status == 503)
    assert "The database does not answer" in page.text
    time.sleep(60 if run % 2 == 0 else 5)
    stack.portal.postgres.start()
    stack.page("/hosts/", 10, lambda page: page.status == 200)
    stack.finish(number)


@pytest.mark.faults
@pytest.mark.parametrize("run", range(5))
def test_a_worker_that_slept_past_its_lease_changes_nothing(stack: Stack, run: int) -> None:
    """Some fifty hosts each time, whose worker wakes when another has finished them."""
    number = stack.begin(run)
    worker = stack.portal.workers[run % 2]
    worker.freeze()
    stack.finish(number)
    newer = stack.fleet.order()
    worker.thaw()
    stack.finish(newer)


@pytest.mark.faults
@pytest.mark.parametrize("copies", range(2, 6))
def test_messages_that_come_several_times_do_each_host_once(stack: Stack, copies: int) -> None:
    number = stack.fleet.order()
    ids = stack.portal.rows(
        "select array_agg(id order by id) from hosts_installation where deployment_id = %s", number
    )[0][0]
    ring = (
        "from xmailadmin import celery\n"
        f"for _ in range({copies}):\n"
        f"    celery.ring('hosts.tasks.install_hosts', {ids[:50]})\n"
        f"    celery.ring('hosts.tasks.install_hosts', {ids[50:]})\n"
    )
    stack.portal.manage("shell", "--no-imports", "--command", ring)
    stack.finish(number, undisturbed=True)


@pytest.mark.faults
@pytest.mark.parametrize("run", range(2))
def test_two_deployments_to_the_same_hosts_never_meet(stack: Stack, run: int) -> None:
    """A hundred races each time: the second one finds on each host what the first one has left."""
    first, second = stack.fleet.order(), stack.fleet.order()
    until("both are finished", lambda: done(stack.portal, second), RESUMED_WITHIN_S)
    check_whole(stack.fleet, second, undisturbed=True)
    ((pair,),) = stack.portal.rows("select pair_id from hosts_deployment where id = %s", first)
    assert {row.previous for row in rows(stack.portal, second)} == {pair}
