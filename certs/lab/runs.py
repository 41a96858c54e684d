"""Runs clients against an endpoint and tells what each achieved."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from certs.lab.endpoint import Door, Endpoint
from certs.lab.job import Call, Job, Tool, Way
from certs.lab.names import environment

__all__ = ["Run", "Target", "installed", "run_all", "version_of"]

RUN_S = 30.0  # what one client may take
SETTLE_S = 0.5  # how soon after a client's end the endpoint has begun to read what it sent
FINISH_S = 10.0  # what it may then take to read it
QUIET_S = 5.0  # a terminal in which nothing happens for so long waits for a person
QUIET_AT_LAST_S = 1.0  # the same once everything was typed
AT_ONCE = 2
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Target:
    """What the clients are shown: the endpoint, the name they use for it, and what to trust."""

    endpoint: Endpoint
    host: str
    trust_pem: bytes
    authority: bool  # trust_pem is the authority's certificate, not the server's
    sha256: str


@dataclass(frozen=True)
class Run:
    """What came of one run."""

    slug: str
    protocol: str
    security: str  # starttls or implicit
    way: Way
    ok: bool
    message: str

    @property
    def place(self) -> tuple[str, str, str, str, str]:
        """By what a run is found again in other measurements."""
        return (self.slug, self.protocol, self.security, self.way.verify, self.way.variant)


def installed(tools: Iterable[Tool]) -> list[Tool]:
    """Returns the tools that this machine has."""
    return [tool for tool in tools if shutil.which(tool.command, path=_path(tool))]


def _path(tool: Tool) -> str:
    return f"{Path(tool.command).parent}:{PATH}" if "/" in tool.command else PATH


@cache
def version_of(tool: Tool) -> str:
    """Returns the version that the tool tells, or "" if it tells none."""
    with tempfile.TemporaryDirectory(prefix="client-lab-") as folder:
        told = subprocess.run(  # noqa: S603  a tool of our own list
            [tool.command, *tool.version],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "HOME": folder, "LC_ALL": "C"},
            timeout=RUN_S,
            check=False,
        ).stdout.decode(errors="replace")
    found = re.search(tool.pattern, told)
    return _printable(found[1]) if found else ""


def run_all(tools: Iterable[Tool], target: Target, protocols: Iterable[str]) -> Iterator[Run]:
    """Yields every run of every tool, in order, a few at once."""
    wanted = [
        (tool, protocol, implicit, way)
        for tool in tools
        for protocol in tool.protocols
        if protocol in protocols
        for implicit in (False, True)
        if implicit or tool.starttls
        for way in tool.ways
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda each: _run(target, *each), wanted)


def _run(target: Target, tool: Tool, protocol: str, implicit: bool, way: Way) -> Run:
    with (
        tempfile.TemporaryDirectory(prefix="client-lab-") as home,
        target.endpoint.door(protocol, implicit=implicit) as door,
    ):
        folder = Path(home)
        trust = folder / ("authority.pem" if target.authority else "certificate.pem")
        trust.write_bytes(target.trust_pem)
        job = Job(
            protocol=protocol,
            implicit=implicit,
            verify=way.verify,
            variant=way.variant,
            host=target.host,
            port=door.port,
            trust=trust,
            sha256=target.sha256,
            folder=folder,
        )
        told = _start(tool.call(job), job, door, tool.goal)
        ok = _achieved(door, tool.goal)
        message = "" if ok else _message(told, job, tool.command)
    security = "implicit" if implicit else "starttls"
    return Run(tool.slug, protocol, security, way, ok, message)


def _achieved(door: Door, goal: str) -> bool:
    ended = time.monotonic()
    while goal not in door.achieved:
        waited = time.monotonic() - ended
        if waited > (FINISH_S if door.busy else SETTLE_S):
            return False
        time.sleep(0.02)
    return True


def _start(call: Call, job: Job, door: Door, goal: str) -> str:
    """Runs the client to its end, or to the end of its time; returns what it said."""
    env = {
        "PATH": PATH,
        "HOME": str(job.folder),
        "LC_ALL": "C.UTF-8",
        **environment(job.host, job.folder),
        **call.env,
    }
    if call.keys:
        return _in_a_terminal(call, env, door, goal)
    process = subprocess.Popen(  # noqa: S603  a tool of our own list
        call.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=job.folder,
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(call.stdin.encode(), timeout=RUN_S)
    except subprocess.TimeoutExpired:
        _end(process)
        told, _ = process.communicate()
        return f"{told.decode(errors='replace')}\nno end within {RUN_S:.0f} s"
    if process.returncode:
        return f"{told.decode(errors='replace')}\nexit code {process.returncode}"
    return told.decode(errors="replace")


def _in_a_terminal(call: Call, env: dict[str, str], door: Door, goal: str) -> str:
    """Types what the call says when the text before it has appeared; ends at the goal, or when
    everything was typed and nothing happens any more."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S603  a tool of our own list
        call.argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    )
    os.close(theirs)
    told, waiting, end = "", list(call.keys), time.monotonic() + RUN_S
    with contextlib.suppress(OSError):  # the terminal is gone when the client ends
        while goal not in door.achieved and time.monotonic() < end:
            quiet_s = QUIET_S if any(text for text, _ in waiting) else QUIET_AT_LAST_S
            if not select.select([ours], [], [], quiet_s)[0]:
                if len(waiting) < len(call.keys):
                    break
                continue
            told += os.read(ours, 65536).decode(errors="replace")
            for text, keys in waiting:
                if text and text in told:
                    os.write(ours, keys.encode())
                    waiting = waiting[waiting.index((text, keys)) + 1 :]
                    break
    _end(process)
    process.wait()
    os.close(ours)
    return re.sub(r"\x1b[\[(][0-9;?]*[A-Za-z]", "\n", told)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _printable(text: str) -> str:
    """Returns the text without what moves a cursor: it is kept, and shown on pages."""
    return "".join(char for char in text if char.isprintable())


NOISE = re.compile(
    r"^(\s*|[-=*]{3,}.*|Processed \d+ CA.*|Resolving .*|Connecting to .*"
    r"|Traceback .*|File \".*|self\..*|[\^~]+)$"
)
ERROR = re.compile(r"[\w.]+Error: ")  # as Python ends a traceback


def _message(told: str, job: Job, command: str) -> str:
    """Returns the telling lines of what a client said, without what is of this run alone."""
    text = told.replace(str(job.trust), "FILE").replace(str(job.folder), "~")
    text = text.replace(f":{job.port}", ":PORT").replace(job.password, "…")
    lines = [_printable(line).strip() for line in re.split(r"[\r\n]+", text)]
    kept = list(dict.fromkeys(line for line in lines if not NOISE.match(line)))
    if named := [line for line in kept if line.startswith(f"{command}:") or ERROR.match(line)]:
        return " / ".join(named[:3])[:300]
    if len(kept) > 1 and kept[-1].startswith("exit code"):
        kept.pop()
    return " / ".join(kept[-3:])[:300]
