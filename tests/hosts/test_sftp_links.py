"""SFTP as root: who may write in MailRoot gets nothing done to files that are root's alone."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hosts.facts import placed
from hosts.transports import File, Target, TransportError, open_transport
from hosts.transports.sftp import SFTPTransport
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.hosts.conftest import ssh_target
from tests.servers import SSHServer

XMAIL = 65534  # who owns MailRoot, and has been broken into
PAIR = make_pair()
FILES = [File("server.key", PAIR.key, private=True), File("server.cert", PAIR.certificate)]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs a server that runs as root")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("what root alone may read\n")
    path.chmod(0o640)
    return path


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    mailroot = make_mailroot(tmp_path / "MailRoot", key=PAIR.key, certificate=PAIR.certificate)
    if os.geteuid() == 0:
        for path in (mailroot, *mailroot.rglob("*")):
            os.chown(path, XMAIL, XMAIL)
    return mailroot


@pytest.fixture
async def transport(ssh_server: SSHServer, mailroot: Path) -> Any:
    target = Target("host", "sftp", address="127.0.0.1", mailroot=str(mailroot))
    async with open_transport(ssh_target(target, ssh_server)) as transport:
        yield transport


def link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


async def refused(step: Awaitable[Any]) -> str:
    with pytest.raises(TransportError) as caught:
        await step
    return caught.value.message.code


def whose(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_mode & 0o777


async def test_a_link_out_of_mailroot_is_not_followed(
    transport: SFTPTransport, mailroot: Path, secret: Path
) -> None:
    link(mailroot / "server.cert", secret)
    assert await refused(transport.read("server.cert")) == "transport.link_outside"
    assert await refused(transport.info("server.cert")) == "transport.link_outside"
    assert await refused(transport.set_mode("server.cert", 0o600)) == "transport.link_outside"
    assert whose(secret) == (os.geteuid(), 0o640)


async def test_a_link_on_the_way_is_not_followed(
    transport: SFTPTransport, mailroot: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "server.key").write_text("a key of somebody else's\n")
    (mailroot / "sslconf").symlink_to(tmp_path / "elsewhere")
    assert await refused(transport.read("sslconf/server.key")) == "transport.link_outside"


async def test_a_link_inside_mailroot_is_followed(transport: SFTPTransport, mailroot: Path) -> None:
    (mailroot / "kept").mkdir()
    (mailroot / "server.key").rename(mailroot / "kept" / "mail.key")
    (mailroot / "server.key").symlink_to("kept/mail.key")
    assert await transport.read("server.key") == PAIR.key
    (mailroot / "kept" / "mail.key").chmod(0o644)
    await transport.set_mode("server.key", 0o600)
    assert (mailroot / "kept" / "mail.key").stat().st_mode & 0o777 == 0o600


@as_root
@pytest.mark.parametrize("owner", [XMAIL, 0])
async def test_a_link_swapped_for_a_file_meanwhile_is_noticed(
    owner: int,
    transport: SFTPTransport,
    mailroot: Path,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, own = mailroot / "server.cert", transport._own

    async def swapped(name: str) -> Any:
        path.unlink()
        path.write_text("mine\n")
        os.chown(path, owner, owner)  # root's was there before, and only moved aside
        return await own(name)

    monkeypatch.setattr(transport, "_own", swapped)
    link(path, secret)
    assert await refused(transport.read("server.cert")) == "transport.link_outside"
    link(path, secret)
    assert await refused(transport.set_mode("server.cert", 0o600)) == "transport.link_outside"
    assert whose(secret) == (0, 0o640)


@as_root
@pytest.mark.parametrize("path", ["server.key", "sslconf/server.key"])
async def test_a_directory_exchanged_between_two_looks_gets_nothing_of_roots(
    path: str,
    transport: SFTPTransport,
    mailroot: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name leads out of MailRoot whenever it is used, but for the question where it leads."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "server.key").write_text("what root alone may read\n")
    (outside / "server.key").chmod(0o640)
    way, harmless, realpath = mailroot / "sslconf", mailroot / "kept", transport._sftp.realpath
    harmless.mkdir()
    (harmless / "server.key").write_text("mine\n")
    way.symlink_to(outside)
    if path == "server.key":
        link(mailroot / path, Path("sslconf/server.key"))
    for own in (way, harmless, harmless / "server.key", mailroot / "server.key"):
        os.chown(own, XMAIL, XMAIL, follow_symlinks=False)

    async def exchanged(asked: str) -> Any:
        if asked != f"{mailroot}/{path}":
            return await realpath(asked)
        way.rename(mailroot / "aside")
        harmless.rename(way)
        try:
            return await realpath(asked)
        finally:
            way.rename(harmless)
            (mailroot / "aside").rename(way)

    monkeypatch.setattr(transport._sftp, "realpath", exchanged)
    assert await transport._sftp.realpath(f"{mailroot}/{path}") == f"{way}/server.key"
    assert await refused(transport.read(path)) == "transport.link_owner"
    assert await refused(transport.info(path)) == "transport.link_owner"
    assert await refused(transport.set_mode(path, 0o600)) == "transport.link_owner"
    assert whose(outside / "server.key") == (0, 0o640)


@as_root
async def test_what_is_reached_by_a_link_is_whose_the_link_is(
    transport: SFTPTransport, mailroot: Path
) -> None:
    (mailroot / "kept").mkdir()
    kept, key = mailroot / "kept" / "mail.key", mailroot / "server.key"
    key.rename(kept)
    key.symlink_to("kept/mail.key")
    for link_uid, uid, trusted in (
        (XMAIL, XMAIL, True),
        (0, XMAIL, True),
        (XMAIL, 0, False),
        (0, 0, False),  # who owns MailRoot can have moved what root's link leads to
        (XMAIL - 1, XMAIL, False),
    ):
        os.chown(key, link_uid, 0, follow_symlinks=False)
        os.chown(kept, uid, 0)
        if trusted:
            assert await transport.read("server.key") == PAIR.key
        else:
            assert await refused(transport.read("server.key")) == "transport.link_owner"


@as_root
async def test_files_of_roots_are_read_where_no_link_leads_to_them(
    transport: SFTPTransport, mailroot: Path
) -> None:
    os.chown(mailroot / "server.key", 0, 0)
    assert await transport.read("server.key") == PAIR.key


@as_root
async def test_what_root_has_put_into_sslconf_keeps_nobody_from_looking_at_the_rest(
    transport: SFTPTransport, mailroot: Path
) -> None:
    (mailroot / "sslconf").mkdir()
    os.chown(mailroot / "sslconf", XMAIL, XMAIL)
    (mailroot / "sslconf" / "server.cert").write_bytes(PAIR.certificate)
    assert await placed(transport) == ""
    os.chown(mailroot / "sslconf" / "server.cert", XMAIL, XMAIL)
    assert await placed(transport) == PAIR.sha256


@as_root
async def test_what_is_placed_in_a_mailroot_of_roots_can_be_read_again(
    transport: SFTPTransport, mailroot: Path
) -> None:
    os.chown(mailroot, 0, 0)
    (mailroot / "sslconf").mkdir()
    os.chown(mailroot / "sslconf", XMAIL, XMAIL)
    await transport.replace_all([File("sslconf/server.cert", PAIR.certificate)], "tok")
    assert await transport.read("sslconf/server.cert") == PAIR.certificate
    assert (mailroot / "sslconf" / "server.cert").stat().st_uid == XMAIL


@as_root
@pytest.mark.parametrize("there", ["sslconf", ""])
async def test_only_what_was_made_here_is_given_away(
    there: str,
    transport: SFTPTransport,
    mailroot: Path,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if there:
        (mailroot / there).mkdir()
    give: Callable[..., Awaitable[None]] = transport._give

    async def swapped(setstat: Any, made: Any, owner: Any, name: str) -> None:
        for path in (
            (mailroot / "sslconf").glob(".server.*.new") if there else [mailroot / "sslconf"]
        ):
            path.rename(mailroot / f"taken{path.name}")
            path.symlink_to(secret)
        await give(setstat, made, owner, name)

    monkeypatch.setattr(transport, "_give", swapped)
    try:
        await transport.replace_all(FILES, "token")
    except TransportError:
        assert not there  # a link is no place to stage files
    assert whose(secret) == (0, 0o640)
