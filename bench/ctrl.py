"""One pair to N hosts by CTRL: our whole path, without and with probes, against bare sockets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench import pushes
from bench.deploying import PROBED, ctrl_hosts, deploy, new_pairs, probe
from bench.measure import alternate, met, table

MOST, MOST_PROBED, TARGET_AT = 1.5, 2, 300
OURS, WITH_PROBES = "ours", "ours, five probes a host"
BARE, BARE_PROBES = "bare sockets, 32 threads", "bare sockets, then five handshakes a host"


def against_bare(counts: Sequence[int], times: int) -> str:
    """Returns the table of ours, ours with probes, and bare sockets in 32 threads."""
    rows: list[list[object]] = []
    for count in counts:
        with ctrl_hosts(count) as (served, hosts):
            pairs = new_pairs()
            files = {}
            for pair in (next(pairs), next(pairs)):
                files[pair.pk] = pushes.Files(pair.private_key(), pair.certificate_file())
            there = 0

            def ours(hosts: list[object] = hosts) -> None:
                nonlocal there
                pair = next(pairs)  # noqa: B023  called in this round of the loop alone
                deploy(pair, hosts)
                there = pair.pk

            def bare() -> None:
                # The same pair again, or the portal would meet a certificate it does not know.
                pushes.bare_ctrl(served, files[there], 32)  # noqa: B023

            def bare_and_looking() -> None:
                bare()
                pushes.bare_handshakes(served, PROBED, 32)

            samples = alternate(
                {OURS: ours, WITH_PROBES: ours, BARE: bare, BARE_PROBES: bare_and_looking},
                times,
                before={
                    OURS: partial(probe, hosts, served, ()),
                    WITH_PROBES: partial(probe, hosts, served, PROBED),
                },
            )
        own, probed, others, looking = (sample.median_s for sample in samples.values())
        compared = {
            OURS: (f"{own / others:.2f} × bare", f"≤ {MOST} ×", own <= MOST * others),
            WITH_PROBES: (
                f"{probed / own:.2f} × without", f"≤ {MOST_PROBED} ×", probed <= MOST_PROBED * own,
            ),
            BARE: ("", "", True),
            BARE_PROBES: (f"{looking / others:.2f} × bare", "", True),
        }  # fmt: skip
        for name, (ratio, target, good) in compared.items():
            wanted = (target, met(good)) if target and count >= TARGET_AT else ("", "")
            sample = samples[name]
            rows.append([count, name, sample.median_s, sample.median_cpu_s, ratio, *wanted])
    head = ["N", "what", "median s", "CPU s of the client", "ratio", "target", "met?"]
    return table(head, rows)
