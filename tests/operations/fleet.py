"""Many local hosts behind a portal, each with an XMail that takes its time, and what became of
them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.doubles.mailroot import make_mailroot
from tests.doubles.wire import Faults
from tests.doubles.xmail import XMail
from tests.grown import Grown
from tests.portal import Portal

REGISTER = """
import json, pathlib
from hosts.models import Host
rows = json.loads(pathlib.Path({path!r}).read_text())
off = dict.fromkeys(("smtp_port", "smtps_port", "pop3_port", "pop3s_port", "ctrls_port"), 0)
Host.objects.bulk_create([Host(**(off | row)) for row in rows])
"""


def until(what: str, condition: Callable[[], Any], within_s: float = 60) -> Any:
    """Returns the first true answer."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {what}")


@dataclass
class Fleet:
    """The hosts of a portal, by name."""

    portal: Portal
    mailroots: dict[str, Path]
    pairs: int = 0

    def order(self, names: Sequence[str] = ()) -> int:
        """Makes a new pair, asks for it to be installed, and returns the deployment."""
        self.pairs += 1
        installs = [word for name in names or self.mailroots for word in ("--install", name)]
        answer = self.portal.manage_json(
            *("issue_pair", "--country", "JP", "--state", "Tokyo", "--locality", "Shibuya-ku"),
            *("--organization", "Xmail", "--common-name", f"p{self.pairs}.dojo.jp"),
            *("--key-type", "ec", "--no-wait", *installs),
        )
        number: int = answer["deployment"]
        return number

    def on_disk(self, names: Sequence[str] = ()) -> set[tuple[bytes, bytes]]:
        """The distinct pairs that lie on the hosts."""
        return {
            ((root / "server.key").read_bytes(), (root / "server.cert").read_bytes())
            for name, root in self.mailroots.items()
            if not names or name in names
        }

    def left_behind(self) -> list[Path]:
        """Stage files that nobody has cleared away."""
        return [path for root in self.mailroots.values() for path in root.glob("sslconf/.server.*")]


@dataclass(frozen=True)
class Row:
    """One installation as the database has it."""

    host: str
    status: str
    attempts: int
    steps: Sequence[str]
    token: str
    previous: int | None


def rows(portal: Grown, deployment: int) -> list[Row]:
    found = portal.rows(
        "select host_name, status, attempts, steps, token, previous_pair_id"
        " from hosts_installation where deployment_id = %s order by id",
        deployment,
    )
    return [
        Row(host, status, attempts, [step["step"] for step in steps], token, previous)
        for host, status, attempts, steps, token, previous in found
    ]


def done(portal: Grown, deployment: int) -> bool:
    """Whether the deployment is finished."""
    ((at,),) = portal.rows("select finished_at from hosts_deployment where id = %s", deployment)
    return at is not None


def looked_at(portal: Grown, deployment: int) -> bool:
    """Whether every host has also been diagnosed since it was done."""
    found = portal.rows(
        "select 1 from hosts_installation i left join hosts_diagnosis d"
        " on d.host_id = i.host_id and d.at > i.finished_at"
        " where i.deployment_id = %s and d.id is null limit 1",
        deployment,
    )
    return not found


def seconds(portal: Grown, deployment: int) -> float:
    """How long a deployment took, from the first host begun to the last one done."""
    ((took,),) = portal.rows(
        "select extract(epoch from max(finished_at) - min(started_at))"
        " from hosts_installation where deployment_id = %s",
        deployment,
    )
    return float(took)


def race(parts: Grown, hosts: Fleet, *, times: int) -> dict[int, list[float]]:
    """How long the same deployments take with one worker and then with two, in seconds.

    Each works on one chunk at a time: four chunks are two rounds instead of four.
    """
    took: dict[int, list[float]] = {1: [], 2: []}
    for workers, found in took.items():
        parts.add_worker("--concurrency", "1")
        assert len(parts.workers) == workers
        for _ in range(times):
            number = hosts.order()
            until("the deployment is finished", lambda n=number: done(parts, n), 180)  # type: ignore[misc]
            found.append(seconds(parts, number))
            # Or what is left to do of this one would be in the way of the next.
            until("the hosts are looked at", lambda n=number: looked_at(parts, n))  # type: ignore[misc]
        check_whole(hosts, number, undisturbed=True)
    return took


def under_way(portal: Grown, deployment: int, at_least: int = 10) -> bool:
    """Whether some hosts are finished or being switched, and others are not."""
    found = rows(portal, deployment)
    begun = [row for row in found if "SWITCH" in row.steps]
    return len(found) > len(begun) >= at_least or done(portal, deployment)


def check_whole(fleet: Fleet, deployment: int, *, undisturbed: bool = False) -> None:
    """Every host holds the new pair whole, the database says so, and nothing was done twice."""
    portal = fleet.portal
    assert isinstance(portal, Grown)
    check_recorded(portal, deployment, undisturbed=undisturbed)
    assert len(fleet.on_disk([row.host for row in rows(portal, deployment)])) == 1
    assert not fleet.left_behind()
    ((held,),) = portal.rows("select count(*) from hosts_host where token <> ''")
    assert held == 0


def check_recorded(portal: Grown, deployment: int, *, undisturbed: bool = False) -> None:
    """The database says of every host that it got the pair, and nothing was done twice."""
    found = rows(portal, deployment)
    assert len(found) == len({row.host for row in found}), "a host twice in one deployment"
    wrong = [row for row in found if row.status != "INSTALLED"]
    assert not wrong, (wrong[:3], portal.logs()[-5000:])
    # Who adopts what an earlier attempt had installed would lose the way back.
    assert len({row.previous for row in found}) == 1
    for row in found:
        assert row.steps.count("SWITCH") <= row.attempts, row
        assert row.token == ""
        if undisturbed:
            assert (row.attempts, row.steps.count("SWITCH")) == (1, 1), row
    ((entries,),) = portal.rows(
        "select count(*) from xmailadmin_auditentry where action = 'deployment.install'"
        " and object_id = %s",
        str(deployment),
    )
    assert entries == 1


@contextmanager
def fleet(portal: Portal, directory: Path, *, hosts: int, delay_s: float) -> Iterator[Fleet]:
    """Registers `hosts` hosts whose SMTP answers each line after `delay_s`."""
    with ExitStack() as stack:
        made: dict[str, Path] = {}
        registered = []
        for number in range(hosts):
            name = f"mail{number:03}"
            made[name] = make_mailroot(directory / name)
            xmail = XMail(made[name], services=["smtp"], faults=Faults(reply_delay_s=delay_s))
            stack.enter_context(xmail)
            registered.append(
                {"name": name, "mailroot": str(made[name]), "smtp_port": xmail.ports["smtp"]}
            )
        path = directory / "hosts.json"
        path.write_text(json.dumps(registered))
        portal.manage("shell", "--no-imports", "--command", REGISTER.format(path=str(path)))
        yield Fleet(portal, made)
