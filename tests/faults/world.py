"""Hosts of one transport, the portal's data directory, and processes that work on both."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import Pair, make_pair
from tests.doubles.wire import Faults
from tests.doubles.xmail import XMail
from tests.portal import CHECKOUT, Portal
from tests.servers import SSHServer

TRANSPORTS = ("local", "sftp", "ctrl")
LEASE_S = 2.5
REAL_LEASE_S = 30.0
ENDS_WITHIN_S = 10.0
Files = tuple[bytes | None, bytes | None]
NOTHING: Files = (None, None)


class Process:
    """One act under way."""

    def __init__(self, pid: int, answer: Path, log: Path) -> None:
        self.pid = pid
        self._answer = answer
        self._log = log
        try:
            self._ended = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended = -1

    def signal(self, number: int) -> None:
        """Send a signal; one that has ended does not mind."""
        if self._ended >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._ended, number)

    def ended(self, within_s: float = 0) -> bool:
        """Whether it has ended, now or within that time."""
        if self._ended < 0:
            return True
        if not select.select([self._ended], [], [], within_s)[0]:
            return False
        os.close(self._ended)
        self._ended = -1
        return True

    def stopped(self, within_s: float) -> bool:
        """Whether it stands still (SIGSTOP) within that time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and not self.ended():
            text = Path(f"/proc/{self.pid}/stat").read_text()
            if text.rpartition(")")[2].split()[0] == "T":
                return True
            time.sleep(0.01)
        return False

    def result(self, within_s: float = 150) -> Any:
        """What the act returned; AssertionError if it failed, was killed or takes too long."""
        if not self.ended(within_s):
            self.signal(signal.SIGKILL)
            raise AssertionError(f"not within {within_s} s\n{self._tail()}")
        assert self._answer.exists(), f"killed\n{self._tail()}"
        answer = json.loads(self._answer.read_text())
        assert "value" in answer, answer.get("error")
        return answer["value"]

    @property
    def was_killed(self) -> bool:
        """Whether it ended without an answer."""
        return self.ended() and not self._answer.exists()

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


class Stage:
    """tests/faults/stage.py with a data directory of its own, which may be made from another."""

    def __init__(self, directory: Path, home: Path | None = None) -> None:
        self.portal = Portal(directory / "portal")
        if home:
            shutil.copytree(home, self.portal.home)
        self.log = directory / "stage.log"
        self._answers = directory / "answers"
        self._answers.mkdir()
        self._number = 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.stage"],
                cwd=CHECKOUT,
                env=self.portal.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        if not home:
            try:
                self.do("prepare")
            except BaseException:
                self.close()
                raise

    def begin(
        self, act: str, *, lease: float = LEASE_S, trap: Any = None, **arguments: Any
    ) -> Process:
        """Start an act in a process of its own."""
        assert self._process.stdin
        assert self._process.stdout
        self._number += 1
        answer = self._answers / f"{self._number}.json"
        what = {
            "act": act, "arguments": arguments, "lease": lease, "trap": trap, "answer": str(answer),
        }  # fmt: skip
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return Process(int(self._process.stdout.readline()), answer, self.log)

    def do(self, act: str, **arguments: Any) -> Any:
        """Perform an act and return its value."""
        return self.begin(act, **arguments).result()

    def close(self) -> None:
        """End the process; whatever it forked has ended before."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:  # nothing is lost: it has no answer to give any more
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@dataclass
class Site:
    """One host of a world."""

    id: int
    root: Path
    xmail: XMail
    transport: str

    @property
    def holds(self) -> Files:
        """What lies under XMail's two names."""
        return read(self.root / "server.key"), read(self.root / "server.cert")

    def hold(self, pair: Files) -> None:
        """Lie there from now on."""
        write_pair(self.root, *pair)

    def close_key(self) -> None:
        """Do what the portal asks for after a first installation by CTRL."""
        with contextlib.suppress(FileNotFoundError):
            (self.root / "server.key").chmod(0o600)

    @property
    def leftovers(self) -> list[str]:
        """What runs have left behind."""
        places = [self.root, self.root / "sslconf"]
        return sorted(
            path.name
            for place in places
            if place.is_dir()
            for path in place.iterdir()
            if path.name.startswith(".server") or "scratch" in path.name
        )


@dataclass
class World:
    """Many hosts of one transport, and pairs to install there."""

    transport: str
    stage: Stage
    sites: list[Site] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    _next: int = 0

    @property
    def ids(self) -> list[int]:
        """The hosts' primary keys."""
        return [site.id for site in self.sites]

    def next_pair(self) -> dict[str, Any]:
        """A pair that lies on none of the hosts."""
        held = {site.holds for site in self.sites}
        for _ in self.pairs:
            self._next += 1
            pair = self.pairs[self._next % len(self.pairs)]
            if as_files(pair) not in held:
                return pair
        raise AssertionError("every pair lies on some host already")

    def order(self, sites: Sequence[Site] | None = None, pair: dict[str, Any] | None = None) -> int:
        """Ask for the next pair on all hosts (or these)."""
        chosen = self.sites if sites is None else sites
        number: int = self.stage.do(
            "order", pair=(pair or self.next_pair())["id"], hosts=[site.id for site in chosen],
            trust=self.trust(chosen),
        )  # fmt: skip
        return number

    def trust(self, sites: Sequence[Site]) -> dict[str, str]:
        """What XMail presents there now, for CTRL to be pinned to."""
        if self.transport != "ctrl":
            return {}
        found = {}
        for site in sites:
            _, certificate = site.holds
            if certificate:
                with contextlib.suppress(ValueError):
                    found[str(site.id)] = Pair(b"", certificate).sha256
        return found

    def check(self, deployment: int, before: dict[int, Files]) -> None:
        """The invariant: old or new, whole, closed to others, and the database says which.

        What is still to be done or to be resumed is not looked at.
        """
        rows = {row["host"]: row for row in self.stage.do("state", deployment=deployment)}
        for site in self.sites:
            if site.id in rows and rows[site.id]["status"] not in {"QUEUED", "RUNNING"}:
                self.check_site(site, rows[site.id], before[site.id])

    def check_site(self, site: Site, row: dict[str, Any], before: Files) -> None:
        """The invariant on one host."""
        holds, new = site.holds, as_files(row["pair"])
        where = f"host {site.id}: {row['status']} {row['code']} {row['steps'][-8:]}"
        good = row["status"] in {"INSTALLED", "UNCHANGED", "REMOVED"}
        assert holds == (new if good else before), f"{where}: not what the database says"
        assert (row["token"], row["host_token"]) == ("", ""), where
        if good:
            assert as_files(row["recorded"]) == holds, f"{where}: the inventory says otherwise"
        if row["adopted"]:
            assert as_files(row["previous"]) in {before, new}, f"{where}: previous pair is lost"
        if holds[0] is not None:
            mode = (site.root / "server.key").stat().st_mode & 0o777
            told = self.transport == "ctrl" and row["key_open"]
            assert told or mode & 0o077 == 0, f"{where}: mode {mode:o}"
        # A host that went away in the midst of it keeps a staged file till the next time.
        assert not good or site.leftovers == [], where
        for staged in (site.root / "sslconf").glob(".server.key.*"):
            assert staged.stat().st_mode & 0o077 == 0, f"{where}: a staged key is open"


def as_files(raw: dict[str, str | None]) -> Files:
    """The two files as an act returned them."""
    key, certificate = raw["key"], raw["certificate"]
    return (
        None if key is None else base64.b64decode(key),
        None if certificate is None else base64.b64decode(certificate),
    )


def read(path: Path) -> bytes | None:
    """The content of a file, or None."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def foreign_pair() -> Files:
    """A pair that the portal has never seen."""
    pair = make_pair("foreign.test")
    return pair.key, pair.certificate


@contextlib.contextmanager
def make_world(
    directory: Path, transport: str, count: int, home: Path, ssh: SSHServer | None = None
) -> Iterator[World]:
    """A world of `count` hosts, all of which serve a pair that the portal has made."""
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        stage = Stage(directory, home)
        stack.callback(stage.close)
        world = World(transport, stage, pairs=stage.do("make_pairs", count=4))
        first = as_files(world.pairs[0])
        values = []
        doubles = []
        for number in range(count):
            root = make_mailroot(directory / f"m{number:03}", key=first[0], certificate=first[1])
            services = ("ctrl", "pop3s") if transport == "ctrl" else ("pop3s",)
            doubles.append(stack.enter_context(XMail(root, services=services, faults=Faults())))
            values.append(host_values(transport, f"m{number:03}", doubles[-1], ssh))
            values[-1] |= {"pair_id": world.pairs[0]["id"]}
            if transport == "ctrl":
                values[-1] |= {"trust_fingerprint": world.pairs[0]["sha256"]}
        for id_, xmail in zip(stage.do("enrol", hosts=values), doubles, strict=True):
            world.sites.append(Site(id_, xmail.mailroot, xmail, transport))
        yield world


def host_values(
    transport: str, name: str, xmail: XMail, ssh: SSHServer | None, **changes: Any
) -> dict[str, Any]:
    """The fields of a host that is reached so; its one endpoint is POP3S."""
    services = ("smtp", "submission", "smtps", "pop3", "ctrls")
    values: dict[str, Any] = {f"{service}_port": 0 for service in services} | {
        "name": name,
        "transport": transport,
        "address": "127.0.0.1",
        "mailroot": str(xmail.mailroot),
        "pop3s_port": xmail.ports["pop3s"],
    }
    if transport == "sftp":
        assert ssh
        values |= {
            "port": ssh.port,
            "user": ssh.user,
            "trust_fingerprint": ssh.host_key.get_fingerprint("sha256"),
            "secrets": {"private_key": ssh.client_key.export_private_key().decode()},
        }
    if transport == "ctrl":
        values |= {
            "port": xmail.ports["ctrl"],
            "user": xmail.user,
            "secrets": {"password": xmail.password},
        }
    return values | changes
