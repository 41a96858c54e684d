"""The embedded portal: warm start to the first page, and what it takes when idle."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from bench.measure import table
from tests.portal import Portal

IDLE_S = 30


def embedded(times: int) -> str:
    """Returns the table of starts (median and worst) and of idling."""
    with tempfile.TemporaryDirectory() as folder:
        portal = Portal(Path(folder) / "portal")
        with portal.up():
            pass  # the first start makes everything
        starts = []
        for _ in range(times):
            began = time.perf_counter()
            with portal.up():
                starts.append(time.perf_counter() - began)
        with portal.up() as process:
            portal.status("/account/login/")
            time.sleep(5)
            before = _cpu_ticks(process.pid)
            time.sleep(IDLE_S)
            used = (_cpu_ticks(process.pid) - before) / os.sysconf("SC_CLK_TCK")
            memory = _memory_mib(process.pid)
    return table(
        ["what", "seen", "target"],
        [
            ["warm start to the first page, median s", statistics.median(starts), "≤ 3"],
            ["idle CPU, % of a core", 100 * used / IDLE_S, "≤ 1"],
            ["idle memory, MiB resident", memory, "≤ 180"],
        ],
    )


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _memory_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")
