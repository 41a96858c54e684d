"""Connections that are cut after any byte, and hosts that fall silent."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.wire import Faults
from tests.faults.conftest import Tally, hosts_a_run
from tests.faults.proxy import DOWN, UP, Proxy
from tests.faults.world import TRANSPORTS, Files, World, as_files, make_world
from tests.servers import SSHServer

GIVES_UP_S = 30
#: More bytes than a deployment needs, by transport and direction.
MOST = {("sftp", UP): 9000, ("sftp", DOWN): 9000, ("ctrl", UP): 3200, ("ctrl", DOWN): 6000}
STAGES = {
    "local": ("deaf", "connect", "handshake", "greeting", "quit"),
    "sftp": ("deaf", "banner", "auth", "mid-write", "close"),
    "ctrl": ("deaf", "greeting", "login", "upload", "quit"),
}
MORE_STAGES = {"ctrl": ("connect", "ready", "handshake", "command", "stored")}
BYTES = {"auth": (UP, 1800), "mid-write": (UP, 5000), "close": (DOWN, 6500)}


@dataclass
class Line:
    """What a test does to the connections of one host."""

    world: World
    proxy: Proxy | None

    def cut(self, number: int, direction: str, after: int, left: int | None) -> None:
        """Cut so many connections (None: all) after so many bytes."""
        if self.proxy:
            plan = self.proxy.plans[number]
            plan.after, plan.direction, plan.left, plan.silent = after, direction, left, False
            return
        faults = self.world.sites[number].xmail.faults
        faults.services, faults.cuts_left = frozenset({"ctrl"}), left
        faults.cut_after_received = after if direction == UP else None
        faults.cut_after_sent = after if direction == DOWN else None

    def silence(self, number: int, stage: str) -> None:
        """Have a host fall silent at a stage."""
        if self.proxy:
            plan = self.proxy.plans[number]
            plan.direction, plan.after = BYTES.get(stage, (DOWN, 0))
            plan.silent, plan.left = True, None
            return
        faults = self.world.sites[number].xmail.faults
        faults.services = frozenset({"ctrl" if self.world.transport == "ctrl" else "pop3s"})
        faults.silent_at = stage

    def clear(self) -> None:
        """All is well again."""
        if self.proxy:
            self.proxy.clear()
        for site in self.world.sites:
            whole = Faults()
            for name in ("silent_at", "cut_after_received", "cut_after_sent", "cuts_left"):
                setattr(site.xmail.faults, name, getattr(whole, name))
            site.xmail.disconnect()


@contextlib.contextmanager
def make_line(
    directory: Path, transport: str, count: int, request: pytest.FixtureRequest
) -> Iterator[Line]:
    ssh: SSHServer | None = None
    proxy: Proxy | None = None
    with contextlib.ExitStack() as stack:
        if transport == "sftp":
            ssh = request.getfixturevalue("ssh_server")
            assert ssh
            proxy = stack.enter_context(Proxy(ssh.port, count))
        home: Path = request.getfixturevalue("home")
        world = stack.enter_context(make_world(directory, transport, count, home, ssh))
        if proxy:
            for site, port in zip(world.sites, proxy.ports, strict=True):
                world.stage.do("change", host=site.id, port=port)
        yield Line(world, proxy)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["sftp", "ctrl"])
def test_cut_after_any_byte(
    transport: str, tmp_path: Path, request: pytest.FixtureRequest, everything: bool, tally: Tally
) -> None:
    """Each host of a run is cut at another place; once, or again and again for some seconds."""
    count = hosts_a_run(everything)
    fault = f"connection cut after any byte, {transport}"
    with make_line(tmp_path / "world", transport, count, request) as line:
        world = line.world
        for direction in (UP, DOWN) if everything else [UP]:
            for left in (1, None) if everything else [1]:
                most = MOST[transport, direction]
                places = [most * (number + 1) // count for number in range(count)]
                if left is None:
                    draw = random.Random(direction)  # noqa: S311
                    places = [draw.randint(most // 4, most) for _ in range(count)]
                before = {site.id: site.holds for site in world.sites}
                for number, after in enumerate(places):
                    line.cut(number, direction, after, left)
                pair = world.next_pair()
                deployment = world.order(pair=pair)
                worker = world.stage.begin("work", strict=True)
                if left is None:
                    worker.ended(8)
                line.clear()
                cleared = time.monotonic()
                worker.result()
                told = {row["host"]: row for row in world.stage.do("state", deployment=deployment)}
                for site, after in zip(world.sites, places, strict=True):
                    with tally.run(fault, f"{after} bytes {direction}, {left}") as run:
                        if left is None:
                            tally.recovered(run, time.monotonic() - cleared, lease_s=0)
                        world.check_site(site, told[site.id], before[site.id])
                restore(world, pair, before)


def restore(world: World, pair: dict[str, Any], before: dict[int, Files]) -> None:
    """Have the same pair everywhere again, for the next run."""
    if any(site.holds != as_files(pair) for site in world.sites):
        again = world.order(pair=pair)
        world.stage.do("work")
        rows = world.stage.do("state", deployment=again)
        assert {row["status"] for row in rows} <= {"INSTALLED", "UNCHANGED"}
    for site in world.sites:
        assert site.holds == as_files(pair)


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port where connections are neither accepted nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_silent_host(
    transport: str, tmp_path: Path, request: pytest.FixtureRequest, everything: bool, tally: Tally
) -> None:
    """It is given up within 30 s, and the others are done as fast as without it."""
    fault = f"host silent at each stage, {transport}"
    count = hosts_a_run(everything)
    stages = STAGES[transport] + MORE_STAGES.get(transport, ())
    with make_line(tmp_path / "world", transport, count, request) as line:
        world = line.world
        usual_s = min(timed(world) for _ in range(3 if everything else 1))
        for stage in stages if everything else [stages[3]]:
            with tally.run(fault, stage) as run, contextlib.ExitStack() as stack:
                silent = world.sites[0]
                before = {site.id: site.holds for site in world.sites}
                if stage == "deaf":
                    field = "pop3s_port" if transport == "local" else "port"
                    right = port_of(line, field)
                    deaf = stack.enter_context(deaf_port())
                    world.stage.do("change", host=silent.id, **{field: deaf})
                else:
                    line.silence(0, stage)
                deployment = world.order()
                began = time.monotonic()
                worker = world.stage.begin(
                    "carry_out", lease=LONG_LEASE_S, deployment=deployment, strict=True
                )
                try:
                    given_up_s = until_given_up(world, deployment, silent.id, began)
                    others_s = time_of_others(world, deployment, silent.id)
                finally:
                    line.clear()
                    if stage == "deaf":
                        world.stage.do("change", host=silent.id, **{field: right})
                    worker.result()
                world.check(deployment, before)
                run.worst_s = max(run.worst_s, given_up_s)
                assert given_up_s <= GIVES_UP_S, f"given up only after {given_up_s:.0f} s"
                if everything:
                    if others_s - usual_s >= max(0.1 * usual_s, 0.5):
                        usual_s = max(usual_s, timed(world))  # is the machine busier now?
                    grown = others_s / usual_s - 1
                    assert others_s - usual_s < max(0.1 * usual_s, 0.5), f"others: +{grown:.0%}"


LONG_LEASE_S = 5.0


def port_of(line: Line, field: str) -> int:
    if field == "pop3s_port":
        return line.world.sites[0].xmail.ports["pop3s"]
    return line.proxy.ports[0] if line.proxy else line.world.sites[0].xmail.ports["ctrl"]


def timed(world: World) -> float:
    """How long a deployment takes when nothing is wrong."""
    deployment = world.order()
    world.stage.do("carry_out", deployment=deployment, strict=True)
    return time_of_others(world, deployment, world.sites[0].id)


def time_of_others(world: World, deployment: int, silent: int) -> float:
    """How long the other hosts took; the silent one may have been done with before they are."""
    for _ in range(100):
        told = world.stage.do("state", deployment=deployment)
        rows = [row for row in told if row["host"] != silent]
        if not {row["status"] for row in rows} & {"QUEUED", "RUNNING"}:
            break
        time.sleep(0.2)
    assert {row["status"] for row in rows} == {"INSTALLED"}
    return max(float(row["took_s"]) for row in rows)


def until_given_up(world: World, deployment: int, host: int, began: float) -> float:
    """The seconds until the silent host's first attempt has ended, one way or the other."""
    while time.monotonic() - began < GIVES_UP_S + 15:
        (row,) = [
            row for row in world.stage.do("state", deployment=deployment) if row["host"] == host
        ]
        if row["code"]:
            return time.monotonic() - began
        time.sleep(0.5)
    raise AssertionError(f"not given up: {row['steps']}")
