"""How often was what tried: tests count, and `make fuzz` prints the table.

What has to be reached stands here, row by row; a test says `tally.add("cn", …)` for each try.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

#: All examples, or a sample of them that everybody can wait for.
FUZZ = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"

#: What is counted: its name in the table, and how many there must be.
ROWS: dict[str, tuple[str, int]] = {
    "common name": ("Common names, in both languages", 2000),
    "DNS names": ("Aliases, in both languages", 3000),
    "IP addresses": ("IP addresses, in both languages", 1000),
    "e-mail": ("E-mail addresses, in both languages", 1000),
    "list of names": ("Lists of names, in both languages", 500),
    "validity": ("Days of validity, in both languages", 1000),
    "kind of key": ("Kinds of keys, all and wrong ones, in both languages", 30),
    "subject": ("Country, organization, department, places", 1000),
    "anything anywhere": ("Several fields of the pair at once, or none", 500),
    "host": ("Host, port, user, MailRoot, in both languages", 2500),
    "accepted and read by OpenSSL": ("Accepted, signed, read back by OpenSSL", 500),
    "paths": ("Paths that would lead out of a MailRoot", 1000),
    "addresses": ("Spellings of addresses that no host may have", 500),
    "injection": ("Strings that would be further commands or headers", 1000),
    "scripts": ("Scripts in text fields, in Chromium, in both languages", 200),
    "bits": ("Flipped bits of a sealed secret", 200),
    "keys": ("Ways to a private key, of which one is open", 70),
    "routes": ("Addresses, for anonymous and each role, object or none", 1000),
    "forged forms": ("Forms without their token", 200),
    "identities": ("Hosts that are not whom they were, told no secret", 20),
    "tampering": ("Audit rows changed, deleted, moved", 300),
    "looks": ("Looks at files under umask 000, none readable by others", 500),
    "canary": ("Portals searched for planted secrets, 0 found", 2),
    "rotation": ("Rotation of the master key killed with 1,000 secrets", 20),
}


def sample(full: T, few: T) -> T:
    """Returns what to try, or how many: all of it in `make fuzz`, else a part."""
    return full if FUZZ else few


Counts = dict[str, dict[str, float]]


@dataclass
class Tally:
    """What one test has tried: by row, how often, how many were refused, the slowest of them."""

    counts: Counts = field(default_factory=dict)

    def add(self, row: str, *, refused: bool = False, ms: float = 0.0) -> None:
        """Counts a try, whether it was refused, and how long it took."""
        assert row in ROWS, row
        count = self.counts.setdefault(row, {"tried": 0, "refused": 0, "slowest_ms": 0.0})
        count["tried"] += 1
        count["refused"] += refused
        count["slowest_ms"] = max(count["slowest_ms"], ms)


@pytest.fixture
def tally(record_property: Any) -> Tally:
    """Counts what this test tries, for the table of `make fuzz`."""
    kept = Tally()
    record_property("tally", kept.counts)  # the very object: it is full when the test has ended
    return kept


def table(reports: Iterable[pytest.TestReport]) -> list[str]:
    """Returns the lines of the table; a row that falls short says so."""
    sums: Counts = {row: {"tried": 0, "refused": 0, "slowest_ms": 0.0} for row in ROWS}
    for report in reports:
        for name, value in report.user_properties:
            for row, count in (value if isinstance(value, dict) else {}).items():
                if name == "tally":
                    sums[row]["tried"] += count["tried"]
                    sums[row]["refused"] += count["refused"]
                    sums[row]["slowest_ms"] = max(sums[row]["slowest_ms"], count["slowest_ms"])
    lines = [f"{'':58} {'needed':>7} {'tried':>7} {'refused':>7} {'slowest':>9}"]
    for row, (label, needed) in ROWS.items():
        tried, refused, slowest_ms = sums[row].values()
        slowest = f"{slowest_ms:.1f} ms" if slowest_ms else ""
        short = "" if tried >= needed else "  TOO FEW"
        lines.append(f"{label:58} {needed:>7,} {tried:>7,} {refused:>7,} {slowest:>9}{short}")
    total = sum(count["tried"] for count in sums.values())
    lines.append(f"{'all together':58} {'':7} {total:>7,}")
    return lines
