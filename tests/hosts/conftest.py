"""Hosts to install on: one for every transport, with the files where the test can see them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from hosts import addresses, proof
from hosts.transports import (
    Credential,
    CtrlTransport,
    Target,
    Transport,
    normal_fingerprint,
    open_transport,
)
from tests import servers
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import Pair, make_pair
from tests.doubles.real_xmail import BINARY
from tests.doubles.xmail import XMail
from tests.hosts.ctrl.cases import OLD

TRANSPORTS = ("local", "sftp", "ctrl")
collect_ignore = [] if BINARY else ["test_real_xmail.py"]


@pytest.fixture(autouse=True)
def _master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


@dataclass
class Site:
    """A MailRoot, how it is reached, and the pair that lies in it from the start."""

    target: Target
    root: Path
    pair: Pair
    xmail: XMail | None = None
    #: Other certificates that the test installs, and whose owner is therefore still the host.
    trusted: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The transport's name."""
        return self.target.transport

    def transport(self) -> Transport:
        """A transport that is not connected yet."""
        transport = open_transport(self.target)
        transport.also_trusted = frozenset(self.trusted)
        return transport

    def lies_there(self, path: str) -> bytes | None:
        """The content of a file below MailRoot."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None

    def mode(self, path: str) -> int:
        """The permission bits of a file below MailRoot."""
        return (self.root / path).stat().st_mode & 0o7777

    def staged(self) -> list[str]:
        """What runs have left behind."""
        return sorted(
            path.name
            for folder in (self.root, self.root / "sslconf")
            if folder.is_dir()
            for path in folder.iterdir()
            if path.name.startswith(".server") or "scratch" in path.name
        )


@pytest.fixture(params=TRANSPORTS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A host for each transport."""
    pair = make_pair("first.test")
    root = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)
    target = Target("host", request.param, address="127.0.0.1", mailroot=str(root))
    if request.param == "sftp":
        yield Site(ssh_target(target, request.getfixturevalue("ssh_server")), root, pair)
    elif request.param == "ctrl":
        with XMail(root) as xmail:
            yield Site(ctrl_target(target, xmail, pair), root, pair, xmail)
    else:
        yield Site(target, root, pair)


def ssh_target(target: Target, server: servers.SSHServer) -> Target:
    """The target, reached through this SSH server."""
    return replace(
        target,
        transport="sftp",
        port=server.port,
        user=server.user,
        credential=Credential(private_key=server.client_key.export_private_key().decode()),
        trust_fingerprint=server.host_key.get_fingerprint("sha256"),
    )


def ctrl_target(target: Target, xmail: XMail, pair: Pair) -> Target:
    """The target, reached through this XMail, which has this pair now."""
    return replace(
        target,
        transport="ctrl",
        port=xmail.ports["ctrl"],
        user=xmail.user,
        credential=Credential(password=xmail.password),
        trust_fingerprint=pair.sha256,
    )


class PasswordServer(asyncssh.SSHServer):
    """Lets one password in, and counts what it was offered."""

    def __init__(self, offered: list[str], password: str) -> None:
        self.offered = offered
        self.password = password

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self.offered.append(password)
        return password == self.password

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        return True


@dataclass
class SmallSSH:
    """An SSH server inside the test, for what OpenSSH cannot be made to do."""

    port: int
    host_key: asyncssh.SSHKey
    offered: list[str]
    acceptor: asyncssh.SSHAcceptor

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its host key."""
        return normal_fingerprint(self.host_key.get_fingerprint("sha256"))


@asynccontextmanager
async def small_ssh(
    *,
    password: str = "secret",
    host_keys: Sequence[asyncssh.SSHKey] = (),
    sftp: Any = True,
) -> AsyncIterator[SmallSSH]:
    """An SSH server that lets in whoever knows the password (or nobody's key)."""
    keys = host_keys or [asyncssh.generate_private_key("ssh-ed25519")]
    offered: list[str] = []
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: PasswordServer(offered, password),
        server_host_keys=list(keys),
        sftp_factory=sftp,
        config=None,
    )
    try:
        yield SmallSSH(acceptor.get_port(), keys[0], offered, acceptor)
    finally:
        acceptor.close()
        await acceptor.wait_closed()
        await asyncio.sleep(0)


# One XMail with a pair, for the tests of CTRL.


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    return make_mailroot(tmp_path / "MailRoot", key=OLD.key, certificate=OLD.certificate)


@pytest.fixture
def xmail(mailroot: Path) -> Iterator[XMail]:
    with XMail(mailroot) as xmail:
        yield xmail


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the double were not on this machine: no key in clear."""
    monkeypatch.setattr(addresses, "is_loopback", lambda ip: not ip_address(ip).is_loopback)


@pytest.fixture
def brisk_ctrl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on this machine needs the patience that a network does."""
    monkeypatch.setattr(CtrlTransport, "timeout_s", 2.0)
    monkeypatch.setattr(proof, "RETRY_AFTER_S", (0.01, 0.02))


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The umask of a careless daemon."""
    before = os.umask(0)
    yield
    os.umask(before)
