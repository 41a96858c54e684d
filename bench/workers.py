"""A grown portal, on PostgreSQL and Redis: two workers against one, and how cost grows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.measure import met, table
from bench.portal import HOME
from bench.starting import cpu_seconds, memory_mib
from tests.doubles.mailroot import make_mailroot
from tests.grown import Grown, grown
from tests.operations.fleet import REGISTER, done, fleet, looked_at, race, until
from tests.visitor import Visitor

ANSWER_S = 0.2
GAIN = 1.8
LINEAR, MORE_MIB = 1.2, 64

PAIR = {
    "country": "JP", "state": "Tokyo", "locality": "Shibuya-ku", "organization": "Xmail Co., Ltd.",
    "common_name": "mail.dojo.jp", "key_size": "ec-256", "days": "825",
}  # fmt: skip


def one_and_two(hosts: int, times: int) -> str:
    """Returns the table of one worker and two, for hosts that take their time to answer."""
    with (
        tempfile.TemporaryDirectory(dir=HOME) as folder,
        grown(Path(folder) / "grown") as parts,
    ):
        parts.start(workers=0)
        with fleet(parts, Path(folder), hosts=hosts, delay_s=ANSWER_S) as slow:
            took = {each: median(found) for each, found in race(parts, slow, times=times).items()}
    gain = took[1] / took[2]
    rows: list[list[object]] = [
        [hosts, 1, took[1], "", "", ""],
        [hosts, 2, took[2], f"{gain:.2f} ×", f"≥ {GAIN} ×", met(gain >= GAIN)],
    ]
    return table(["hosts", "workers", "median s", "faster", "target", "met?"], rows)


def growth(counts: Sequence[int]) -> str:
    """Returns the table of time and memory for more and more local hosts."""
    with (
        tempfile.TemporaryDirectory(dir=HOME) as folder,
        grown(Path(folder) / "grown") as parts,
    ):
        parts.start(workers=1)
        _register(parts, Path(folder), counts)
        visitor = Visitor(parts)
        visitor.sign_in()
        _measure(parts, visitor, counts[0])  # the first time of all loads the code
        found = [_measure(parts, visitor, count) for count in counts]
    # What a host costs where everything is a whole chunk or more, before the largest number.
    each_s, base_mib = 0.0, found[0][3]
    rows: list[list[object]] = []
    for count, (took, web_cpu, web_mib, worker_mib, worker_cpu) in zip(counts, found, strict=True):
        target, holds = "", ""
        if each_s and count > 100:
            target = f"≤ {LINEAR} × as much a host as for 100; worker + ≤ {MORE_MIB} MiB"
            holds = met(took / count <= LINEAR * each_s, worker_mib - base_mib <= MORE_MIB)
        if count == 100:
            each_s = took / count
        rows.append(
            [
                count, took, took / count * 1000, web_cpu, web_mib, worker_cpu, worker_mib,
                target, holds,
            ]
        )  # fmt: skip
    head = [
        "hosts", "s", "ms a host", "web CPU s", "web MiB", "worker CPU s", "worker MiB", "target",
        "met?",
    ]  # fmt: skip
    return table(head, rows)


def _register(parts: Grown, folder: Path, counts: Sequence[int]) -> None:
    """Registers local hosts of which a search finds as many as wanted: by a word in the memo."""
    rows = [
        {
            "name": f"g{number:04}",
            "mailroot": str(make_mailroot(folder / f"g{number}")),
            "memo": " ".join(f"first-{count}." for count in counts if number < count),
        }
        for number in range(max(counts))
    ]
    path = folder / "hosts.json"
    path.write_text(json.dumps(rows))
    parts.manage("shell", "--no-imports", "--command", REGISTER.format(path=str(path)))


def _measure(
    parts: Grown, visitor: Visitor, count: int
) -> tuple[float, float, float, float, float]:
    """Asks for a pair on `count` hosts as a person does, and returns seconds and what it took."""
    web, worker = (part.process for part in (parts.web, parts.workers[0]))
    assert web is not None
    assert worker is not None
    pids = (web.pid, worker.pid)
    before = [cpu_seconds(pid) for pid in pids]
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is that of now
    page = visitor.post(
        "/pairs/new/", install_now="on", which="search", host_search=f"first-{count}.", **PAIR
    )
    assert page.status == 200, page.text
    ((number,),) = parts.rows("select max(id) from hosts_deployment")
    until("the deployment is finished", lambda: done(parts, number), 300)
    until("every host was looked at", lambda: looked_at(parts, number), 300)
    ((took,),) = parts.rows(
        "select extract(epoch from finished_at - created_at) from hosts_deployment where id = %s",
        number,
    )
    web_cpu, worker_cpu = (cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True))
    web_mib, worker_mib = (memory_mib(pid, "VmHWM") for pid in pids)
    return float(took), web_cpu, web_mib, worker_mib, worker_cpu
