"""What one run of one client is: where it connects, what it trusts, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from certs.lab.dialogue import PASSWORD, USER

__all__ = ["Call", "Job", "Tool", "Way"]


@dataclass(frozen=True)
class Job:
    """One run. `folder` is the client's home, empty but for what the plan puts into it."""

    protocol: str  # SMTP or POP3
    implicit: bool
    verify: str  # default, off or trusted
    variant: str
    host: str
    port: int
    trust: Path  # a PEM file: the certificate itself, or the authority that signed it
    sha256: str  # of the certificate, lower-case hex
    folder: Path
    user: str = USER
    password: str = PASSWORD

    @property
    def smtp(self) -> bool:
        return self.protocol == "SMTP"

    @property
    def login(self) -> str:
        """User name and password as they stand in an address."""
        return f"{self.user.replace('@', '%40')}:{self.password}"

    def write(self, name: str, *lines: str) -> Path:
        """Returns a new file in the folder that nobody else can read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path


@dataclass(frozen=True)
class Call:
    """How a client is started. With `keys` it runs in a terminal of its own: what to type, and
    after which text; the last text ends the run."""

    argv: list[str]
    stdin: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Way:
    """One way to set verification, in the words of the notes."""

    verify: str
    setting: str = ""
    variant: str = ""


@dataclass(frozen=True)
class Tool:
    """A client that can be run unattended."""

    slug: str
    name: str
    command: str
    protocols: tuple[str, ...]
    ways: tuple[Way, ...]
    call: Callable[[Job], Call]
    version: tuple[str, ...]  # arguments that make it tell its version
    pattern: str  # what the version looks like in that
    goal: str = "mail"  # what it must achieve inside TLS; "greeted" for tools that sign in nowhere
    starttls: bool = True  # it knows STARTTLS/STLS
