"""Directories with more names than anybody should keep in memory, and numbers without an end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import String

from hosts.mailroot import parse_server_tab
from hosts.transports import File, TransportError, base, ctrl, local, open_transport, sftp
from tests.doubles import dialogues
from tests.doubles.wire import Wire
from tests.hosts.conftest import Site, small_ssh
from tests.hosts.diagnosing import diagnose
from tests.hosts.speech import spoken
from tests.hosts.test_sftp import small_target


async def test_a_directory_with_too_many_names_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (local, sftp, ctrl):
        monkeypatch.setattr(module, "MOST_NAMES", 30)
    (site.root / "certs").mkdir()
    for number in range(28):  # a server may count "." and ".."
        (site.root / "certs" / f"{number:08x}.0").touch()
    async with site.transport() as transport:
        assert len(await transport.list("certs", "*.0")) == 28
        for number in range(28, 31):
            (site.root / "certs" / f"{number:08x}.0").touch()
        with pytest.raises(TransportError) as refused:
            await transport.list("certs", "*.0")
        assert refused.value.message.code == "transport.too_many"
        assert refused.value.permanent
        assert "certs" in spoken(refused.value.message)
        assert await transport.read("server.cert") == site.pair.certificate  # it goes on


class EndlessServer(asyncssh.SFTPServer):
    """Names without an end in every directory."""

    told = 0

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        while True:
            EndlessServer.told += 1
            yield asyncssh.SFTPName(b".server.%0150d.new" % self.told, attrs=asyncssh.SFTPAttrs())


async def test_names_without_an_end_do_not_fill_the_memory(mailroot: Path) -> None:
    (mailroot / "sslconf").mkdir(exist_ok=True)
    async with (
        small_ssh(sftp=EndlessServer) as server,
        open_transport(small_target(server, mailroot)) as transport,
    ):
        for work in (
            transport.list("certs", "*"),
            transport.replace_all([File("server.cert", b"new")], "tok"),
        ):
            EndlessServer.told = 0
            with pytest.raises(TransportError) as refused:
                await work
            assert refused.value.message.code == "transport.too_many"
            assert EndlessServer.told < 2 * base.MOST_NAMES


class FloodingServer(asyncssh.SFTPServer):
    """Sends 500 kB of packets that are to be ignored before its first answer."""

    def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        connection = self.channel.get_connection()
        for _ in range(20_000):
            connection.send_packet(MSG_IGNORE, String(b""))
        return asyncssh.SFTPAttrs()

    lstat = stat


async def test_what_an_ssh_server_floods_is_worked_through_in_small_pieces(
    mailroot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else has a turn while asyncssh works through what it was given."""
    pieces = []
    received = asyncssh.SSHClientConnection.data_received

    def note(self: asyncssh.SSHClientConnection, data: bytes, datatype: Any = None) -> None:
        pieces.append(len(data))
        received(self, data, datatype)

    monkeypatch.setattr(asyncssh.SSHClientConnection, "data_received", note)
    async with (
        small_ssh(sftp=FloodingServer) as server,
        open_transport(small_target(server, mailroot)) as transport,
    ):
        await transport.info("server.key")
    assert sum(pieces) > 500_000
    assert max(pieces) < 100_000  # else 262,144


@pytest.mark.parametrize("site", ["ctrl"], indirect=True)
async def test_sizes_that_are_no_numbers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter(["9" * 5000, "²", "12"])

    def told(wire: Wire, words: list[str]) -> None:
        wire.send("+00100 OK", *(f'"{at}"\t"{size}"' for at, size in enumerate(sizes)), ".")

    monkeypatch.setitem(dialogues._COMMANDS, "filelist", (told, 2))
    async with site.transport() as transport:
        assert [found.size for found in await transport.list(".", "*")] == [0, 0, 12]


@pytest.mark.parametrize(("value", "on"), [("1" * 5000, True), ("0" * 5000, False)])
async def test_a_number_of_5000_digits_in_server_tab(value: str, on: bool, mailroot: Path) -> None:
    text = f'"EnableSMTP-TLS"\t"{value}"\n'.encode()
    (mailroot / "server.tab").write_bytes(text)
    assert ("tls_off_unused" in await diagnose(mailroot)) == (not on)
    tab = parse_server_tab(text)
    assert tab.on("EnableSMTP-TLS") == on
    assert len(tab.to_json()["EnableSMTP-TLS"]) < 1000
