"""Which hosts are reached through a jump host."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from hosts import identity
from hosts.messages import Message
from hosts.registration import inspect
from hosts.transports import Transport, TransportError, open_transport
from hosts.transports.base import openssh_fingerprint
from tests.doubles.mailroot import make_mailroot
from tests.hosts.conftest import small_ssh
from tests.hosts.test_sftp import refusal, small_target


async def test_where_a_host_may_be_is_looked_at_before_the_jump_host_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that only the jump host knows might be any address."""

    async def nobody_knows(self: Transport, address: str) -> str:
        if address == "unknown.test":
            raise TransportError(Message("address.unknown", {"address": address}))
        return await locate(self, address)

    locate = Transport.locate
    mailroot = make_mailroot(tmp_path / "MailRoot")
    monkeypatch.setattr(Transport, "locate", nobody_knows)
    async with small_ssh() as jump, small_ssh() as server:
        via = f"me@127.0.0.1:{jump.port} {openssh_fingerprint(jump.fingerprint)}"
        target = small_target(server, mailroot, jump=via, address="169.254.169.254")
        assert (await refusal(target)).message.code == "address.denied"
        unknown = replace(target, address="unknown.test")
        bounded = replace(unknown, allowed_networks=(ip_network("127.0.0.0/8"),))
        assert (await refusal(bounded)).message.code == "address.unknown"
        with pytest.raises(TransportError):
            await open_transport(bounded).scan()
        assert jump.offered == []
        assert (await refusal(unknown)).message.code == "ssh.jump_cannot_reach"
        assert jump.offered == ["secret"]


async def test_the_key_of_a_jump_host_is_not_offered_as_the_hosts_own(tmp_path: Path) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    async with small_ssh() as jump, small_ssh() as server:
        via = f"me@127.0.0.1:{jump.port} {openssh_fingerprint(server.fingerprint)}"
        target = small_target(server, mailroot, jump=via)
        for asked in (target, replace(target, trust_fingerprint="")):
            seen = await inspect(asked)
            assert seen.problem is not None
            assert seen.problem.code == "ssh.wrong_jump_key"
            assert seen.problem.params["shown"] == openssh_fingerprint(jump.fingerprint)
            assert not seen.identity
            assert (await identity.look(asked)).met == ""


@pytest.mark.parametrize("cut_off", ["SHA256:", "SHA256:AAAA", "MD5:aa:bb"])
async def test_a_fingerprint_that_was_cut_off_is_not_none(tmp_path: Path, cut_off: str) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    async with small_ssh() as jump, small_ssh() as server:
        target = small_target(server, mailroot, jump=f"me@127.0.0.1:{jump.port} {cut_off}")
        assert (await refusal(target)).message.code == "ssh.bad_jump"
        assert jump.offered == []
