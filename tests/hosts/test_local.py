"""MailRoots on this machine: what the operating system can say, and links that lead astray."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hosts.install import Order, PairFiles, install
from hosts.messages import Message
from hosts.transports import File, LocalTransport, Target, TransportError, local
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.hosts.memory import Notebook

OLD, NEW = make_pair("old.test"), make_pair("new.test")
OLD_FILES = PairFiles(OLD.key, OLD.certificate)
NEW_FILES = PairFiles(NEW.key, NEW.certificate)
FILES = [File("server.key", NEW.key, private=True), File("server.cert", NEW.certificate)]


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    return make_mailroot(tmp_path / "MailRoot", key=OLD.key, certificate=OLD.certificate)


@pytest.fixture
def transport(mailroot: Path) -> LocalTransport:
    return LocalTransport(Target("host", "local", mailroot=str(mailroot)))


def held(mailroot: Path) -> PairFiles:
    return PairFiles(
        (mailroot / "server.key").read_bytes(), (mailroot / "server.cert").read_bytes()
    )


CAUSES = [
    (errno.ENOSPC, "transport.disk_full"),
    (errno.EDQUOT, "transport.quota"),
    (errno.EROFS, "transport.read_only"),
    (errno.EACCES, "transport.denied"),
    (errno.EPERM, "transport.denied"),
    (errno.EIO, "transport.io"),
]


@pytest.mark.parametrize(("number", "code"), CAUSES)
@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "replace"])
async def test_every_cause_is_named_and_nothing_is_changed(
    mailroot: Path,
    transport: LocalTransport,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    code: str,
) -> None:
    original = getattr(os, call)

    def fails(*args: object, **kwargs: object) -> object:
        if call == "open" and not int(str(args[1])) & os.O_CREAT:
            return original(*args, **kwargs)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fails)
    outcome = await install(transport, Order(NEW_FILES, False, "tok"), Notebook())
    monkeypatch.undo()
    assert (outcome.status, outcome.message.code) == ("FAILED", code)
    assert outcome.permanent == (number != errno.EIO)
    assert held(mailroot) == OLD_FILES
    sslconf = mailroot / "sslconf"
    assert not sslconf.exists() or list(sslconf.iterdir()) == []


async def test_switch_that_fails_at_the_certificate_is_finished(
    mailroot: Path, transport: LocalTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.replace
    failures = [None]

    def fails_once(source: str, target: str, **kwargs: int) -> None:
        if target == "server.cert" and failures:
            failures.pop()
            raise OSError(errno.EIO, "bad disk")
        original(source, target, **kwargs)

    monkeypatch.setattr(os, "replace", fails_once)
    outcome = await install(transport, Order(NEW_FILES, False, "tok"), Notebook())
    assert (outcome.status, held(mailroot)) == ("INSTALLED", NEW_FILES)


async def test_switch_that_cannot_be_finished_is_undone(
    mailroot: Path, transport: LocalTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.replace

    def fails_with_the_new_one(source: str, target: str, **kwargs: int) -> None:
        if target == "server.cert" and (mailroot / "server.key").read_bytes() == NEW.key:
            raise OSError(errno.EACCES, "no")
        original(source, target, **kwargs)

    monkeypatch.setattr(os, "replace", fails_with_the_new_one)
    outcome = await install(transport, Order(NEW_FILES, False, "tok"), Notebook())
    assert (outcome.status, held(mailroot)) == ("ROLLED_BACK", OLD_FILES)
    assert outcome.message.code == "install.switch_restored"
    assert [note.code for note in outcome.notes] == ["transport.denied"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to others")
@pytest.mark.parametrize("owner", [(1234, 0), (0, 1234)])
async def test_account_that_cannot_give_files_away_says_so(
    mailroot: Path,
    transport: LocalTransport,
    monkeypatch: pytest.MonkeyPatch,
    owner: tuple[int, int],
) -> None:
    os.chown(mailroot / "server.key", *owner)

    def refused(fd: int, uid: int, gid: int) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "fchown", refused)
    outcome = await install(transport, Order(NEW_FILES, False, "tok"), Notebook())
    if owner[0]:
        assert outcome.message == Message(
            "transport.owner", {"path": "server.key", "owner": owner[0]}
        )
        assert held(mailroot) == OLD_FILES
    else:  # the group alone does not decide who can read a key
        assert outcome.status == "INSTALLED"


async def test_link_inside_mailroot_is_read(mailroot: Path, transport: LocalTransport) -> None:
    (mailroot / "certs").mkdir()
    (mailroot / "server.cert").rename(mailroot / "certs" / "2026.cert")
    (mailroot / "server.cert").symlink_to("certs/2026.cert")
    (mailroot / "certs.pem").symlink_to(mailroot / "server.cert")
    async with transport:
        assert await transport.read("server.cert") == OLD.certificate
        assert await transport.read("certs.pem") == OLD.certificate
        info = await transport.info("certs.pem")
    assert info is not None
    assert info.size == len(OLD.certificate)


@pytest.mark.parametrize("link", ["/etc/hostname", "../outside", "certs/../../outside", "loop"])
async def test_link_out_of_mailroot_is_not_followed(
    mailroot: Path, transport: LocalTransport, link: str
) -> None:
    (mailroot.parent / "outside").write_bytes(b"not for the portal")
    for name in ("server.key", "loop"):
        (mailroot / name).unlink(missing_ok=True)
        (mailroot / name).symlink_to(link)
    async with transport:
        for operation in (transport.read, transport.info):
            with pytest.raises(TransportError) as caught:
                await operation("server.key")
            assert caught.value.message.code == "transport.link_outside"


async def test_linked_directory_is_not_entered(mailroot: Path, transport: LocalTransport) -> None:
    outside = mailroot.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"x")
    (mailroot / "certs").symlink_to(outside)
    async with transport:
        for operation in (transport.read("certs/secret"), transport.list("certs", "*")):
            with pytest.raises(TransportError) as caught:
                await operation
            assert caught.value.message.code == "transport.not_a_directory"


async def test_what_is_no_file_is_neither_read_nor_replaced(
    mailroot: Path, transport: LocalTransport
) -> None:
    (mailroot / "server.key").unlink()
    os.mkfifo(mailroot / "server.key")
    (mailroot / "server.cert").unlink()
    (mailroot / "server.cert").mkdir()
    async with transport:
        for path in ("server.key", "server.cert"):
            with pytest.raises(TransportError) as caught:
                await asyncio.wait_for(transport.read(path), 5)
            assert caught.value.message.code == "transport.not_a_file"
        with pytest.raises(TransportError):
            await transport.replace_all(FILES, "tok")


async def test_huge_file_is_not_read(mailroot: Path, transport: LocalTransport) -> None:
    with (mailroot / "certs.pem").open("wb") as file:
        file.truncate(local.READ_LIMIT + 1)
    async with transport:
        with pytest.raises(TransportError) as caught:
            await transport.read("certs.pem")
    assert caught.value.message.code == "transport.too_large"


@pytest.mark.parametrize("path", ["link", "link/../link", "above/MailRoot"])
async def test_mailroot_is_not_looked_for_behind_a_link(mailroot: Path, path: str) -> None:
    (mailroot.parent / "link").symlink_to(mailroot)
    (mailroot.parent / "above").symlink_to(mailroot.parent)
    before = held(mailroot)
    target = Target("host", "local", mailroot=f"{mailroot.parent}/{path}")
    with pytest.raises(TransportError) as caught:
        await LocalTransport(target).connect()
    assert caught.value.message.code == "transport.mailroot_moved"
    assert caught.value.message.params["real"] == str(mailroot)
    assert caught.value.permanent
    assert held(mailroot) == before


async def test_no_link_is_followed_that_appears_after_the_look(
    mailroot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = mailroot.parent / "link"
    link.symlink_to(mailroot)
    monkeypatch.setattr(LocalTransport, "_check_place", lambda *_: None)
    with pytest.raises(TransportError):
        await LocalTransport(Target("host", "local", mailroot=str(link))).connect()


async def test_mailroot_lies_where_mailroots_may_be(mailroot: Path) -> None:
    target = Target("host", "local", mailroot=str(mailroot))
    async with LocalTransport(replace(target, mailroot_bases=(str(mailroot.parent),))):
        pass
    with pytest.raises(TransportError) as caught:
        await LocalTransport(replace(target, mailroot_bases=("/nowhere",))).connect()
    assert caught.value.message.code == "transport.mailroot_outside"
    assert caught.value.permanent


async def test_cancelled_work_is_over_before_its_directories_are_closed(
    mailroot: Path, transport: LocalTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.fsync
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(fd: int) -> None:
        loop.call_soon_threadsafe(started.set)
        original(fd)

    monkeypatch.setattr(os, "fsync", slow)

    async def work() -> None:
        async with transport:
            await transport.replace_all(FILES, "tok")

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held(mailroot) == OLD_FILES


async def test_windows_knows_neither_modes_nor_directory_handles(
    mailroot: Path, transport: LocalTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "POSIX", False)
    monkeypatch.setattr(LocalTransport, "sets_mode", False)
    monkeypatch.delattr(os, "fchmod")
    monkeypatch.delattr(os, "fchown")
    async with transport:
        await transport.replace_all(FILES, "tok")
        assert await transport.read("server.key") == NEW.key
        info = await transport.info("server.key")
        assert info is not None
        assert (info.mode, info.uid) == (None, None)
        assert [found.name for found in await transport.list(".", "server.c*")] == ["server.cert"]
        assert await transport.list("certs", "*") == []
        await transport.remove(["server.key"])
        assert await transport.read("server.key") is None
        with pytest.raises(TransportError):
            await transport.set_mode("server.cert", 0o600)
    assert list((mailroot / "sslconf").iterdir()) == []
