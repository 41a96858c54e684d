"""Counts every run of every fault, and tells them in one line a fault."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.world import LEASE_S, REAL_LEASE_S, Stage, World, make_world
from tests.servers import SSHServer

#: What runs as a sample in every test run, by test and transport: it takes a minute at most.
SAMPLE = {
    ("test_killed_at_a_boundary", "local"),
    ("test_killed_at_a_boundary", "sftp"),
    ("test_killed_at_a_boundary", "ctrl"),
    ("test_two_deployments_race", "local"),
    ("test_a_message_delivered_again", "local"),
    ("test_a_worker_that_wakes_after_its_lease", "ctrl"),
    ("test_told_to_stop", "local"),
    ("test_cut_after_any_byte", "sftp"),
    ("test_cut_after_any_byte", "ctrl"),
    ("test_what_was_written_is_not_there", "local"),
    ("test_refused_in_the_midst_of_the_switch", "sftp"),
    ("test_another_host_key", "sftp"),
    ("test_two_hosts_swapped", "ctrl"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is no part of the sample."""
    left_out = [item for item in items if _is_left_out(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _is_left_out(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)  # only tests with parameters have one
    case = callspec.params if callspec is not None else {}
    if case.get("everything") != "sample" or item.path.parent != Path(__file__).parent:
        return False
    transport = case.get("world", case.get("transport", ""))
    return (getattr(item, "originalname", ""), transport) not in SAMPLE


@dataclass
class Count:
    """How often a fault was injected, how often all was well, how long the longest took."""

    runs: int = 0
    passed: int = 0
    worst_s: float = 0.0


@dataclass
class Tally:
    """The runs of one test."""

    counts: dict[str, Count]
    failures: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def run(self, fault: str, case: str = "") -> Iterator[Count]:
        """One run; what fails in it is told at the end, after the other runs."""
        count = self.counts.setdefault(fault, Count())
        count.runs += 1
        try:
            yield count
        except AssertionError as error:
            self.failures.append(f"{fault}, {case}: {error}")
        else:
            count.passed += 1

    def recovered(self, count: Count, seconds: float, lease_s: float = LEASE_S) -> None:
        """Note how long it took till all was well, as it would be with the portal's lease."""
        if lease_s and seconds > lease_s / 2:  # a lease had to run out
            seconds += REAL_LEASE_S - lease_s
        count.worst_s = max(count.worst_s, seconds)
        assert seconds <= 60, f"recovered only after {seconds:.0f} s"


_COUNTS: dict[str, Count] = {}


@pytest.fixture
def tally() -> Iterator[Tally]:
    tally = Tally(_COUNTS)
    yield tally
    if tally.failures:
        pytest.fail("\n\n".join(tally.failures[:10]), pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _COUNTS:
        return
    terminalreporter.section("faults")
    for fault, count in sorted(_COUNTS.items()):
        worst = f"worst {count.worst_s:5.1f} s" if count.worst_s else ""
        terminalreporter.line(
            f"{fault:<62} {count.runs:4} runs {count.passed:4} passed  {worst}".rstrip()
        )


@pytest.fixture(params=["sample", pytest.param("all", marks=pytest.mark.faults)])
def everything(request: pytest.FixtureRequest) -> bool:
    """Whether to make all runs that the fault list asks for, or a sample of them."""
    return bool(request.param == "all")


def hosts_a_run(everything: bool) -> int:
    """How many hosts a run has: enough that each step is under way somewhere when it ends."""
    return int(os.environ.get("FAULT_HOSTS", "100")) if everything else 6


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portal's data directory with an empty database, to be copied."""
    stage = Stage(tmp_path_factory.mktemp("home"))
    stage.close()
    return stage.portal.home


@pytest.fixture(params=["local", "sftp", "ctrl"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, everything: bool, home: Path
) -> Iterator[World]:
    ssh: SSHServer | None = None
    if request.param == "sftp":
        ssh = request.getfixturevalue("ssh_server")
    count = hosts_a_run(everything)
    with make_world(tmp_path / "world", request.param, count, home, ssh) as world:
        yield world
