"""Runs the benchmarks and writes RESULTS.md: `make bench`, or `python -m bench [NAME …]`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable

from bench import portal
from bench.measure import RESULTS, machine


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help="sftp ctrl growth making embedded pages; default: all"
    )
    parser.add_argument("--times", type=int, default=5, help="repetitions; medians are quoted")
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 300])
    parser.add_argument("--installations", type=int, default=100_000)
    chosen = parser.parse_args()
    portal.set_up()
    logging.disable(logging.WARNING)

    from bench import fanout, making, pages, starting

    def walk() -> str:
        pages.furnish(10_000, 1_000, chosen.installations)
        return pages.walk(20)

    benches: dict[str, tuple[str, Callable[[], str]]] = {
        "sftp": (
            "One pair to N hosts by SFTP",
            lambda: fanout.against_sftp(chosen.hosts, chosen.times),
        ),
        "ctrl": (
            "One pair to N hosts by CTRL",
            lambda: fanout.against_ctrl(chosen.hosts, chosen.times),
        ),
        "growth": ("How cost grows", lambda: fanout.growth([1, 10, 100, 1000])),
        "making": ("Making a pair", lambda: making.against_openssl(chosen.times)),
        "embedded": ("The embedded portal", lambda: starting.embedded(chosen.times)),
        "pages": (
            f"Pages with 10,000 hosts, 1,000 pairs, {chosen.installations:,} installations",
            walk,
        ),
    }
    told = [f"# Results\n\nMeasured on {machine()}.\n"]
    for name in chosen.names or benches:
        title, run = benches[name]
        section = f"## {title}\n\n{run()}"
        print(section, flush=True)
        told.append(section)
    if not chosen.names:
        RESULTS.write_text("\n".join(told), encoding="utf-8")


if __name__ == "__main__":
    main()
