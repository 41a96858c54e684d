"""Runs the benchmarks and writes RESULTS.md: `make bench`, or `python -m bench [NAME …]`.

Each runs in a process of its own: what one has loaded or made must not weigh on the next.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.measure import RESULTS, machine
from bench.sections import SECTIONS


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--times", type=int, default=5, help="repetitions; medians are quoted")
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 300])
    parser.add_argument("--grown", type=int, nargs="+", default=[10, 100, 1000], help="for growth")
    parser.add_argument("--installations", type=int, help="for pages; else 100,000 and 1,000,000")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where all of it is written")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(SECTIONS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    # What was started is ended and what was written removed, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by a signal"))
    if len(chosen.names) == 1:
        print(SECTIONS[chosen.names[0]].text(chosen))
        return 0
    return _run_all(chosen)


def _run_all(chosen: argparse.Namespace) -> int:
    """Runs each in turn; writes the results when all were asked for and all came to an end."""
    began = time.monotonic()
    told = [f"# Results\n\nMeasured on {machine()}.\n"]
    failed = []
    for name in chosen.names or SECTIONS:
        started = time.monotonic()
        command = [sys.executable, "-m", "bench", name, "--times", str(chosen.times)]
        command += ["--hosts", *map(str, chosen.hosts), "--grown", *map(str, chosen.grown)]
        if chosen.installations:
            command += ["--installations", str(chosen.installations)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        print(done.stdout, flush=True)
        print(f"({name}: {time.monotonic() - started:.0f} s)\n", file=sys.stderr, flush=True)
        if done.returncode:
            failed.append(name)
        told.append(done.stdout)
    if failed:
        print(f"Failed: {', '.join(failed)}; nothing was written.", file=sys.stderr)
        return 1
    if not chosen.names:
        told.append(f"All of this took {(time.monotonic() - began) / 60:.0f} minutes.\n")
        chosen.results.write_text("\n".join(told), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
