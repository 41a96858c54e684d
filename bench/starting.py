"""The embedded portal: warm start to the first page, and what it takes when idle."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from bench.measure import met, table
from bench.portal import HOME
from tests.portal import Portal

IDLE_S = 30
MOST_S, MOST_PERCENT, MOST_MIB = 3, 1, 180


def embedded(times: int) -> str:
    """Returns the table of starts (median and worst) and of idling."""
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        portal = Portal(Path(folder) / "portal")
        with portal.up():
            pass  # the first start makes everything
        starts = []
        for _ in range(times):
            began = time.perf_counter()
            with portal.up():
                portal.status("/account/login/")
                starts.append(time.perf_counter() - began)
        with portal.up() as process:
            portal.status("/account/login/")
            time.sleep(5)
            before = cpu_seconds(process.pid)
            time.sleep(IDLE_S)
            used = 100 * (cpu_seconds(process.pid) - before) / IDLE_S
            memory = memory_mib(process.pid)
    start = statistics.median(starts)
    return table(
        ["what", "seen", "target", "met?"],
        [
            ["warm start to the first page, median s", start, f"≤ {MOST_S}", met(start <= MOST_S)],
            ["the slowest of these starts, s", max(starts), "", ""],
            ["idle CPU, % of a core", used, f"≤ {MOST_PERCENT}", met(used <= MOST_PERCENT)],
            ["idle memory, MiB resident", memory, f"≤ {MOST_MIB}", met(memory <= MOST_MIB)],
        ],
    )


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, kind: str = "VmRSS") -> float:
    """Resident memory of a process: of now (VmRSS) or the most there was (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {kind}")
