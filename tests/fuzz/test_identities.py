"""Hosts that are not whom they were: whatever has changed, they are told no secret."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from hosts.transports import Credential, Target, TransportError, open_transport
from tests.doubles.mailroot import PASSWORD, USER, make_mailroot
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.hosts.conftest import SmallSSH, small_ssh
from tests.tally import Tally

KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


def target_of(server: SmallSSH, trusted: str, user_key: asyncssh.SSHKey | None) -> Target:
    credential = Credential(
        password="secret",
        private_key="" if user_key is None else user_key.export_private_key().decode(),
    )
    return Target("host", "sftp", address="127.0.0.1", port=server.port, user="xmail",
                  mailroot="/", credential=credential, trust_fingerprint=trusted)  # fmt: skip


async def refused(target: Target) -> None:
    with pytest.raises(TransportError) as caught:
        async with open_transport(target):
            pass
    assert caught.value.permanent


@pytest.mark.parametrize("with_key", [False, True])
async def test_another_key_another_kind_of_key_and_swapped_hosts(
    tally: Tally, with_key: bool
) -> None:
    """The key that was registered is of one kind, the one that is met of the same or another."""
    keys = {kind: asyncssh.generate_private_key(kind) for kind in KINDS}
    user_key = asyncssh.generate_private_key("ssh-ed25519") if with_key else None
    for kind in KINDS:
        async with small_ssh(host_keys=[asyncssh.generate_private_key(kind)]) as server:
            for registered in keys.values():
                trusted = registered.get_fingerprint("sha256")
                await refused(target_of(server, trusted, user_key))
                tally.add("identities", refused=True)
            assert server.offered == []
    async with small_ssh() as one, small_ssh() as two:
        for server, other in ((one, two), (two, one)):
            await refused(target_of(server, other.fingerprint, user_key))
            assert server.offered == []
            tally.add("identities", refused=True)
        # The negative control: the right one is told the password.
        async with open_transport(replace(target_of(one, one.fingerprint, user_key))):
            assert one.offered == ["secret"]


def test_another_certificate_and_swapped_hosts(tmp_path: Path, tally: Tally) -> None:
    pairs = [make_pair("one.test"), make_pair("two.test", kind="rsa2048"), make_pair("three.test")]

    def host(number: int) -> XMail:
        pair = pairs[number]
        root = make_mailroot(tmp_path / str(number), key=pair.key, certificate=pair.certificate)
        return XMail(root)

    with host(0) as one, host(1) as two:
        for server, own in ((one, 0), (two, 1)):
            for registered in range(3):
                if registered == own:
                    continue
                target = Target(
                    "host", "ctrl", address="127.0.0.1", port=server.ports["ctrl"], user=USER,
                    credential=Credential(password=PASSWORD),
                    trust_fingerprint=pairs[registered].sha256,
                )  # fmt: skip
                asyncio.run(refused(target))
                tally.add("identities", refused=True)
            assert (server.seen.logins, server.seen.failed_logins) == (0, 0)
            assert server.seen.uploads == []
