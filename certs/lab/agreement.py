"""Compares runs with the measurements that come with the product."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from certs.lab.runs import Run
from certs.shipped_notes import read_notes, shipped_files

__all__ = ["Agreement", "compare", "known"]

Place = tuple[str, str, str, str, str]  # Run.place


@dataclass
class Agreement:
    """How many runs came out as they were measured before, which did not, which are new."""

    same: int = 0
    different: list[Run] = field(default_factory=list)
    new: int = 0

    def add(self, other: Agreement) -> None:
        self.same += other.same
        self.different += other.different
        self.new += other.new


@cache
def known(kind: str) -> dict[Place, bool]:
    """Returns what was measured with this kind of certificate: where and how, and if it worked."""
    found: dict[Place, bool] = {}
    for path in shipped_files():
        for note in read_notes(path):
            if note["certificate_kind"] == kind:
                for run in note["results"]:
                    place = (
                        note["client_slug"],
                        note["protocol"],
                        note["security"],
                        run["verify"],
                        run.get("variant", ""),
                    )
                    found[place] = run["result"] == "ok"
    return found


def compare(kind: str, runs: Iterable[Run]) -> Agreement:
    """Returns how far the runs agree with what was measured before."""
    agreement = Agreement()
    before = known(kind)
    for run in runs:
        if run.place not in before:
            agreement.new += 1
        elif before[run.place] == run.ok:
            agreement.same += 1
        else:
            agreement.different.append(run)
    return agreement
