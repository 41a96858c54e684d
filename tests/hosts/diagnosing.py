"""What the tests of facts and findings share: ways to a host, and findings that were checked."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from hosts.diagnosis import Facts, Finding, findings, gather
from hosts.probe import ENDPOINT_NAMES, Endpoint
from hosts.transports import File, FileInfo, Target, Transport, TransportError, open_transport
from tests.doubles.xmail import XMail
from tests.hosts.speech import spoken

# An hour ahead, so that a pair made late in a slow run is valid by then too.
NOW = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)


class ScriptedTransport(Transport):
    """Files in a dictionary; a value that is an error is raised."""

    def __init__(
        self,
        files: dict[str, bytes | TransportError],
        *,
        target: Target | None = None,
        confidential: bool = True,
        fails: TransportError | None = None,
    ) -> None:
        super().__init__(target or Target("memory", "ctrl", mailroot="/var/MailRoot"))
        self.files = files
        self.reads: list[str] = []
        self._confidential = confidential
        self._fails = fails

    async def connect(self) -> None:
        if self._fails is not None:
            raise self._fails
        self.confidential = self._confidential

    async def close(self) -> None: ...

    async def read(self, path: str) -> bytes | None:
        self.reads.append(path)
        found = self.files.get(path)
        if isinstance(found, TransportError):
            raise found
        return found

    async def info(self, path: str) -> FileInfo | None:
        return FileInfo(path, 1) if path in self.files else None

    async def list(self, path: str, pattern: str) -> list[FileInfo]:
        prefix = "" if path == "." else f"{path}/"
        names = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        return [FileInfo(name, 1) for name in names if fnmatchcase(name, pattern)]

    async def replace_all(self, files: Sequence[File], token: str, **_: object) -> None:
        raise NotImplementedError

    async def remove(self, paths: Iterable[str]) -> None:
        raise NotImplementedError


def local(mailroot: Path, os: str = "unix") -> Transport:
    return open_transport(Target("a", "local", os=os, mailroot=str(mailroot)))


def services(xmail: XMail, *names: str) -> list[Endpoint]:
    return [Endpoint(name, xmail.ports[name]) for name in names or ENDPOINT_NAMES]


def judged(facts: Facts, now: dt.datetime = NOW) -> dict[str, Finding]:
    """The findings by code; each must be sayable, survive its way through JSON, and say what to do
    unless all is well."""
    found = findings(facts, now)
    for finding in found:
        spoken(finding.message)
        assert finding.level in {"ok", "info", "warning", "error"}
        assert (finding.remedy is None) == (finding.level == "ok"), finding
        if finding.remedy is not None:
            spoken(finding.remedy)
        assert Finding.from_json(json.loads(json.dumps(finding.to_json()))) == finding
    for finding, topic in zip(found, ("pair_", "key_", "ca_"), strict=False):
        assert finding.code.startswith(topic)
    return {finding.code: finding for finding in found}


async def diagnose(
    mailroot: Path, xmail: XMail | None = None, recorded: str | None = None
) -> dict[str, Finding]:
    endpoints = services(xmail) if xmail else []
    return judged(await gather(local(mailroot), endpoints, "127.0.0.1", recorded))
