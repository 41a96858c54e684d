"""Timing, medians and the tables that say them."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MISSED = "**no**"
RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass
class Sample:
    """Wall and CPU seconds (this process and its children) of each repetition."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        return statistics.median(self.wall_s)

    @property
    def worst_s(self) -> float:
        return max(self.wall_s)

    @property
    def median_cpu_s(self) -> float:
        return statistics.median(self.cpu_s)

    def p95_s(self) -> float:
        return statistics.quantiles(self.wall_s, n=20, method="inclusive")[-1]


def cpu_s() -> float:
    """CPU seconds that this process and its finished children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def alternate(
    contestants: Mapping[str, Callable[[], object]],
    times: int,
    *,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, Sample]:
    """Runs every contestant `times` times, taking turns, so that drift meets all of them alike.

    What `before` has for a contestant is done each time before its own run, and not measured.
    """
    samples = {name: Sample() for name in contestants}
    for _ in range(times):
        for name, run in contestants.items():
            if before and name in before:
                before[name]()
            cpu, wall = cpu_s(), time.perf_counter()
            run()
            samples[name].wall_s.append(time.perf_counter() - wall)
            samples[name].cpu_s.append(cpu_s() - cpu)
    return samples


def met(*holds: bool) -> str:
    """Returns the cell that says whether a target is met."""
    return "yes" if all(holds) else MISSED


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table; floats with three digits that matter."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def machine() -> str:
    """Returns what the numbers were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, " + (
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
