"""Runs that are killed or lose their lease, and those that take over."""

from __future__ import annotations

import itertools

import pytest

from hosts import proof
from hosts.install import LeaseLost, Outcome, PairFiles, install
from tests.hosts.memory import (
    ALL_STEPS,
    NEW_FILES,
    NOTHING,
    OLD_FILES,
    STRANGER,
    Killed,
    MemoryTransport,
    Notebook,
    Stage,
    order,
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "RETRY_AFTER_S", (0.0, 0.0))


@pytest.mark.parametrize("step", ALL_STEPS)
async def test_lost_lease_stops_at_once(step: str) -> None:
    stage = Stage(OLD_FILES)
    stage.notebook.lost_at = step
    with pytest.raises(LeaseLost):
        await stage.run(order())
    done = len(stage.host.log)
    assert not stage.transport.open
    if step in {"CONNECT", "ADOPT", "STAGE", "SWITCH"}:
        assert stage.host.changes == []
    if step == "CONNECT":
        assert done == 0


async def test_lost_lease_is_noticed_before_restoring() -> None:
    stage = Stage(OLD_FILES)
    stage.notebook.lost_at = "RESTORE"
    with pytest.raises(LeaseLost):
        await stage.run(order(PairFiles(STRANGER.key, STRANGER.certificate)))
    assert stage.host.changes == ["write server.key", "write server.cert"]


async def kill_and_resume(held: PairFiles, wanted: PairFiles, at: int) -> tuple[Stage, Outcome]:
    """Kill a run before its operation number `at` and let another one take over.

    Raises StopAsyncIteration if it ended before that.
    """
    stage = Stage(held)
    stage.host.faults[at] = Killed()
    try:
        await stage.run(order(wanted))
    except Killed:
        pass
    else:
        raise StopAsyncIteration
    stage.host.faults.clear()
    previous = stage.notebook.adopted
    again = Notebook()
    outcome = await install(
        MemoryTransport(stage.host), order(wanted, previous=previous), again, stage.wire.probe
    )
    assert previous is None or again.adopted is None
    return stage, outcome


@pytest.mark.parametrize("held", [NOTHING, OLD_FILES])
@pytest.mark.parametrize("wanted", [NEW_FILES, NOTHING])
async def test_killed_at_any_moment_the_next_run_finishes(
    held: PairFiles, wanted: PairFiles
) -> None:
    killed = 0
    for at in itertools.count():
        try:
            stage, outcome = await kill_and_resume(held, wanted, at)
        except StopAsyncIteration:
            break
        killed += 1
        assert outcome.status in {"INSTALLED", "REMOVED", "UNCHANGED"}, at
        assert stage.host.pair == wanted
        assert outcome.previous == held
    assert killed >= 3


async def test_killed_at_any_moment_the_next_run_restores_what_cannot_be_served() -> None:
    bad = PairFiles(STRANGER.key, STRANGER.certificate)
    for at in itertools.count():
        try:
            stage, outcome = await kill_and_resume(OLD_FILES, bad, at)
        except StopAsyncIteration:
            break
        assert outcome.status == "ROLLED_BACK", at
        assert stage.host.pair == OLD_FILES, at
    assert at > 12


@pytest.mark.parametrize("number", range(len(ALL_STEPS)))
async def test_killed_while_writing_the_journal(number: int) -> None:
    stage = Stage(OLD_FILES)
    stage.notebook = Notebook(killed_at=number)
    with pytest.raises(Killed):
        await stage.run(order())
    resumed = order(previous=stage.notebook.adopted)
    outcome = await install(stage.transport, resumed, Notebook(), stage.wire.probe)
    assert outcome.status in {"INSTALLED", "UNCHANGED"}
    assert stage.host.pair == NEW_FILES
    assert outcome.previous in {OLD_FILES, NEW_FILES}
