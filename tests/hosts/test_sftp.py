"""SFTP: whom it trusts, what it sends to whom, and servers that can do less than OpenSSH."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from hosts import identity
from hosts.install import Order, PairFiles, install
from hosts.registration import _how_reached, inspect
from hosts.transports import Credential, File, Target, TransportError, open_transport, ssh
from hosts.transports.base import normal_fingerprint, openssh_fingerprint
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.hosts.conftest import SmallSSH, small_ssh, ssh_target
from tests.hosts.memory import Notebook
from tests.servers import SSHServer

OLD, NEW = make_pair("old.test"), make_pair("new.test")
FILES = [File("server.key", NEW.key, private=True), File("server.cert", NEW.certificate)]


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    return make_mailroot(tmp_path / "MailRoot", key=OLD.key, certificate=OLD.certificate)


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home directory full of things that must not matter."""
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    (home / "config").write_text("Host *\n  ProxyCommand /bin/false\n  Port 1\n")
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "no-agent"))


def small_target(server: SmallSSH, mailroot: Path, **more: Any) -> Target:
    target = Target(
        "host",
        "sftp",
        address="127.0.0.1",
        port=server.port,
        user="xmail",
        mailroot=str(mailroot),
        credential=Credential(password="secret"),
        trust_fingerprint=server.fingerprint,
    )
    return replace(target, **more)


async def refusal(target: Target) -> TransportError:
    with pytest.raises(TransportError) as caught:
        async with open_transport(target):
            pass
    return caught.value


# Whom it trusts.


async def test_wrong_host_key_is_refused_before_any_secret_is_sent(mailroot: Path) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    async with small_ssh() as server:
        registered = stranger.get_fingerprint("sha256")
        error = await refusal(small_target(server, mailroot, trust_fingerprint=registered))
        assert error.message.code == "ssh.wrong_host_key"
        assert error.message.params == {
            "expected": registered,
            "met": openssh_fingerprint(server.fingerprint),
        }
        assert error.permanent
        assert server.offered == []


async def test_unregistered_host_key_is_never_added_silently(mailroot: Path) -> None:
    async with small_ssh() as server:
        error = await refusal(small_target(server, mailroot, trust_fingerprint=""))
        assert error.message.code == "ssh.no_fingerprint"
        assert server.offered == []


async def test_whichever_key_of_a_server_is_confirmed_is_met_without_a_log_in(
    mailroot: Path,
) -> None:
    kinds = ("ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519")
    keys = [asyncssh.generate_private_key(kind) for kind in kinds]
    async with small_ssh(host_keys=keys) as server:
        target = small_target(server, mailroot)
        for key in keys:
            sha256 = normal_fingerprint(key.get_fingerprint("sha256"))
            meeting = await identity.confirm(target, sha256)
            assert (meeting.met, meeting.problem) == (sha256, None)
            assert (await identity.look(replace(target, trust_fingerprint=sha256))).met == sha256
        other = await identity.confirm(target, "ab" * 32)
        assert other.problem is not None
        assert other.problem.code == "registration.changed_again"
        assert server.offered == []


async def test_scan_shows_the_host_key_and_logs_in_nowhere(mailroot: Path) -> None:
    async with small_ssh() as server:
        target = small_target(server, mailroot, trust_fingerprint="")
        assert await open_transport(target).scan() == server.fingerprint
        assert server.offered == []


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_registered_key_is_found_though_the_server_prefers_another(
    kind: str, mailroot: Path
) -> None:
    ed25519 = asyncssh.generate_private_key("ssh-ed25519")
    other = asyncssh.generate_private_key(kind)
    async with small_ssh(host_keys=[ed25519, other]) as server:
        registered = other.get_fingerprint("sha256")
        target = small_target(server, mailroot, trust_fingerprint=registered)
        async with open_transport(target) as transport:
            assert openssh_fingerprint(transport.identity) == registered
        assert server.offered == ["secret"]


async def test_good_and_bad_password(mailroot: Path) -> None:
    async with small_ssh() as server:
        async with open_transport(small_target(server, mailroot)) as transport:
            assert await transport.read("server.key") == OLD.key
        server.offered.clear()
        bad = small_target(server, mailroot, credential=Credential(password="wrong"))
        error = await refusal(bad)
        assert (error.message.code, error.permanent) == ("ssh.bad_login", True)
        assert server.offered == ["wrong"]


@pytest.mark.parametrize("form", ["pkcs8-pem", "openssh"])
async def test_private_key_with_passphrase(
    ssh_server: SSHServer, mailroot: Path, form: str
) -> None:
    if form == "openssh":
        pytest.importorskip("bcrypt")
    plain = Target("host", "sftp", address="localhost", mailroot=str(mailroot))
    target = ssh_target(plain, ssh_server)
    locked = ssh_server.client_key.export_private_key(form, passphrase="open sesame").decode()
    good = replace(target, credential=Credential(private_key=locked, passphrase="open sesame"))
    async with open_transport(good) as transport:
        assert await transport.read("server.key") == OLD.key
    for credential in (
        Credential(private_key=locked, passphrase="wrong"),
        Credential(private_key=locked),
        Credential(private_key="nonsense"),
    ):
        error = await refusal(replace(target, credential=credential))
        assert (error.message.code, error.permanent) == ("ssh.bad_private_key", True)
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    error = await refusal(replace(target, credential=Credential(private_key=stranger)))
    assert error.message.code == "ssh.bad_login"


async def test_forbidden_address_is_not_connected_to(mailroot: Path) -> None:
    async with small_ssh() as server:
        error = await refusal(small_target(server, mailroot, address="169.254.169.254"))
        assert error.message.code == "address.denied"


# Through a jump host.


async def test_jump_host(mailroot: Path) -> None:
    async with small_ssh() as jump, small_ssh() as server:
        via = f"me@127.0.0.1:{jump.port} {openssh_fingerprint(jump.fingerprint)}"
        target = small_target(server, mailroot, jump=via)
        async with open_transport(target) as transport:
            await transport.replace_all(FILES, "tok")
            assert transport.identity == server.fingerprint
        assert await open_transport(target).scan() == server.fingerprint
        assert jump.offered == ["secret", "secret"]
    assert (mailroot / "server.key").read_bytes() == NEW.key


async def test_no_password_to_a_jump_host_that_is_not_pinned(mailroot: Path) -> None:
    async with small_ssh() as jump, small_ssh() as server:
        target = small_target(server, mailroot, jump=f"me@127.0.0.1:{jump.port}")
        assert (await refusal(target)).message.code == "ssh.bad_login"
        stranger = openssh_fingerprint(NEW.sha256)
        target = small_target(server, mailroot, jump=f"me@127.0.0.1:{jump.port} {stranger}")
        assert (await refusal(target)).message.code == "ssh.wrong_jump_key"
        assert jump.offered == server.offered == []


async def test_the_page_says_what_was_done_at_a_jump_host(mailroot: Path) -> None:
    async with small_ssh() as jump, small_ssh() as server:
        via = f"me@127.0.0.1:{jump.port} {openssh_fingerprint(jump.fingerprint)}"
        target = replace(small_target(server, mailroot, jump=via), trust_fingerprint="")
        found = await inspect(target)
        assert [message.code for message in found.found] == ["registration.reached_by_jump"]
        assert found.unconfirmed
    assert _how_reached(replace(target, jump="me@host")) == "registration.reached_by_unknown_jump"
    assert _how_reached(replace(target, jump="")) == "registration.reached"


@pytest.mark.parametrize("jump", ["host", "@host", "me@host:x", "me@host:70000", "a b@c d e"])
async def test_jump_host_that_is_no_address(jump: str, mailroot: Path) -> None:
    async with small_ssh() as server:
        assert (await refusal(small_target(server, mailroot, jump=jump))).message.code == (
            "ssh.bad_jump"
        )


async def test_jump_host_that_cannot_reach_the_server(mailroot: Path) -> None:
    async with small_ssh() as jump, small_ssh() as server:
        via = f"me@127.0.0.1:{jump.port} {openssh_fingerprint(jump.fingerprint)}"
        error = await refusal(small_target(server, mailroot, jump=via, port=1))
        assert error.message.code == "ssh.jump_cannot_reach"


# Servers that do not answer, or cannot.


async def test_nobody_listens(mailroot: Path) -> None:
    async with small_ssh() as server:
        pass
    assert (await refusal(small_target(server, mailroot))).message.code == "ssh.nobody_listens"


async def test_unreachable_host_is_told_in_the_systems_words(
    mailroot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_route(_client: object, address: str, port: int, **_: object) -> None:
        raise OSError(errno.EHOSTUNREACH, f"Connect call failed {(address, port)}")

    monkeypatch.setattr(asyncssh, "create_connection", no_route)
    async with small_ssh() as server:
        error = await refusal(small_target(server, mailroot))
    assert error.message.code == "ssh.unreachable"
    assert error.message.params["reason"] == os.strerror(errno.EHOSTUNREACH)


async def test_silent_server_is_given_up(mailroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ssh._FIXED, "connect_timeout", 0.2)
    monkeypatch.setitem(ssh._FIXED, "login_timeout", 0.2)
    writers = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with listener, small_ssh() as server:
        port = listener.sockets[0].getsockname()[1]
        error = await refusal(small_target(server, mailroot, port=port))
        for writer in writers:
            writer.close()
            await writer.wait_closed()
    assert error.message.code in {"ssh.no_answer", "ssh.unreachable"}
    assert not error.permanent


async def test_server_without_sftp(mailroot: Path) -> None:
    async with small_ssh(sftp=None) as server:
        error = await refusal(small_target(server, mailroot))
    assert error.message.code == "sftp.no_sftp"


# Servers that can do less.


class OldServer(asyncssh.SFTPServer):
    """Knows no posix-rename, and `rename` replaces nothing."""

    refuse_target = ""

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("no such extension")

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        if os.path.exists(newpath):
            raise asyncssh.SFTPFailure("there is one already")
        if self.refuse_target and newpath.decode().endswith(self.refuse_target):
            self.refuse_target = ""
            raise asyncssh.SFTPFailure("not today")
        os.rename(oldpath, newpath)


async def test_safe_order_without_posix_rename(mailroot: Path) -> None:
    async with (
        small_ssh(sftp=OldServer) as server,
        open_transport(small_target(server, mailroot)) as transport,
    ):
        await transport.replace_all(FILES, "tok")
    assert (mailroot / "server.key").read_bytes() == NEW.key
    assert (mailroot / "server.cert").read_bytes() == NEW.certificate
    assert list((mailroot / "sslconf").iterdir()) == []
    assert (mailroot / "server.key").stat().st_mode & 0o777 == 0o600


async def test_previous_pair_is_back_where_the_safe_order_fails(
    mailroot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OldServer, "refuse_target", "/server.cert")
    async with small_ssh(sftp=OldServer) as server:
        order = Order(PairFiles(NEW.key, NEW.certificate), False, "tok")
        outcome = await install(open_transport(small_target(server, mailroot)), order, Notebook())
    key, certificate = (mailroot / "server.key", mailroot / "server.cert")
    assert (key.read_bytes(), certificate.read_bytes()) in {
        (OLD.key, OLD.certificate),
        (NEW.key, NEW.certificate),
    }
    assert outcome.status in {"INSTALLED", "ROLLED_BACK"}
    assert list((mailroot / "sslconf").iterdir()) == []


async def test_windows_paths(tmp_path: Path) -> None:
    make_mailroot(tmp_path / "C:" / "MailRoot", key=OLD.key, certificate=OLD.certificate)

    def windows(channel: Any) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=os.fsencode(tmp_path))

    async with small_ssh(sftp=windows) as server:
        target = replace(small_target(server, tmp_path), os="windows", mailroot="C:\\MailRoot")
        async with open_transport(target) as transport:
            assert not transport.sets_mode
            assert await transport.read("server.key") == OLD.key
            info = await transport.info("server.key")
            assert info is not None
            assert (info.mode, info.uid) == (None, None)
            await transport.replace_all(FILES, "tok")
            assert [found.name for found in await transport.list("", "server.*")] == [
                "server.cert",
                "server.key",
                "server.tab",
            ]
    assert (tmp_path / "C:" / "MailRoot" / "server.key").read_bytes() == NEW.key


class BrokenServer(asyncssh.SFTPServer):
    """Fails every write in one way."""

    error: Exception = asyncssh.SFTPFailure("Failure")
    free_blocks = 1

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        raise self.error

    def statvfs(self, path: bytes) -> asyncssh.SFTPVFSAttrs:
        return asyncssh.SFTPVFSAttrs(bavail=self.free_blocks, files=1, favail=1)


@pytest.fixture(
    params=[
        (asyncssh.SFTPFailure("Failure"), 0, "transport.disk_full"),
        (asyncssh.SFTPFailure("Failure"), 9, "sftp.failure"),
        (asyncssh.SFTPPermissionDenied("no"), 9, "transport.denied"),
        (OSError(errno.EIO, "bad disk"), 9, "sftp.failure"),
    ],
    ids=["full", "vague", "denied", "io"],
)
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    error, free_blocks, code = request.param
    monkeypatch.setattr(BrokenServer, "error", error)
    monkeypatch.setattr(BrokenServer, "free_blocks", free_blocks)
    return str(code)


async def test_failed_write_names_the_cause_and_changes_nothing(
    broken: str, mailroot: Path
) -> None:
    async with small_ssh(sftp=BrokenServer) as server:
        order = Order(PairFiles(NEW.key, NEW.certificate), False, "tok")
        outcome = await install(open_transport(small_target(server, mailroot)), order, Notebook())
    assert (outcome.status, outcome.message.code) == ("FAILED", broken)
    assert (mailroot / "server.key").read_bytes() == OLD.key
    assert list((mailroot / "sslconf").iterdir()) == []


def test_no_secret_in_the_repr_of_a_target(mailroot: Path) -> None:
    target = Target("h", "sftp", credential=Credential("canary1", "canary2", "canary3"))
    assert "canary" not in repr(target)


KEXINIT = bytes.fromhex("14") + bytes(16) + bytes(3)  # cut off within the first list of names


async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    padding = 4 + -(len(KEXINIT) + 9) % 8
    writer.write(b"SSH-2.0-x\r\n" + (len(KEXINIT) + padding + 1).to_bytes(4, "big"))
    writer.write(bytes([padding]) + KEXINIT + bytes(padding))
    with suppress(ConnectionError):
        await reader.read()
    writer.close()


@pytest.mark.parametrize("where", ["host", "scan", "jump", "scan by jump"])
async def test_a_server_that_sends_half_a_packet_is_told(mailroot: Path, where: str) -> None:
    async with small_ssh() as sound, await asyncio.start_server(cut_off, "127.0.0.1", 0) as faulty:
        port = faulty.sockets[0].getsockname()[1]
        target = small_target(sound, mailroot)
        if "jump" in where:
            target = replace(target, jump=f"me@127.0.0.1:{port} {sound.fingerprint}")
        else:
            target = replace(target, port=port)
        if "scan" in where:
            seen = await inspect(replace(target, trust_fingerprint=""))
            assert seen.problem is not None
            assert seen.problem.code == "ssh.nonsense"
        else:
            assert (await refusal(target)).message.code == "ssh.nonsense"
