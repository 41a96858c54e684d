"""Private keys that say how long it takes to open them."""

from __future__ import annotations

import binascii
import struct
import time
from typing import Any

import asyncssh
import pytest
from asyncssh import asn1

from hosts.transports import TransportError
from hosts.transports.base import Credential
from hosts.transports.ssh import _client_keys
from hosts.transports.ssh_key import MOST_ITERATIONS, MOST_ROUNDS

PASSPHRASE = "a passphrase"
KEY = asyncssh.generate_private_key("ssh-ed25519")


def openssh(rounds: int) -> str:
    """A key that says so many rounds, though it was made with few."""
    text = KEY.export_private_key("openssh", PASSPHRASE, rounds=128).decode()
    head, *body, foot = text.strip().split("\n")
    data = bytearray(binascii.a2b_base64("".join(body)))
    at = data.index(struct.pack(">I", 24) + struct.pack(">I", 16)) + 8 + 16
    assert data[at : at + 4] == struct.pack(">I", 128)
    data[at : at + 4] = struct.pack(">I", rounds)
    return "\n".join([head, binascii.b2a_base64(bytes(data)).decode().strip(), foot, ""])


async def opened(text: str) -> str:
    """The code of the refusal, "" if the key was opened."""
    began = time.monotonic()
    try:
        await _client_keys(Credential(private_key=text, passphrase=PASSPHRASE))
    except TransportError as error:
        return error.message.code if error.permanent else "tried again"
    finally:
        assert time.monotonic() - began < 5
    return ""


async def test_keys_as_people_make_them_are_opened() -> None:
    assert await opened(openssh(128)) == ""
    for kind in ("openssh", "pkcs8-pem", "pkcs1-pem"):
        key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
        assert await opened(key.export_private_key(kind, PASSPHRASE).decode()) == "", kind
        assert await opened(key.export_private_key(kind).decode()) == "", kind


@pytest.mark.parametrize("rounds", [MOST_ROUNDS + 1, 9_000, 2**32 - 1])
async def test_a_key_that_would_take_too_long_is_refused_at_once(rounds: int) -> None:
    assert await opened(openssh(rounds)) == "ssh.slow_private_key"
    header = openssh(rounds).replace("KEY-----\n", "KEY-----\nComment: x\n\n", 1)
    assert await opened(header) == "ssh.bad_private_key"
    assert await opened("some words\n" + openssh(rounds)) == "ssh.slow_private_key"
    assert await opened(openssh(rounds).replace("\n", "\r\n")) == "ssh.slow_private_key"


async def test_no_cheap_key_stands_in_for_a_slow_one() -> None:
    cheap, slow = openssh(16), openssh(MOST_ROUNDS + 1)
    hidden = binascii.b2a_base64(b"".join(map(binascii.a2b_base64, cheap.split("\n")[1:-2])))
    head, rest = slow.split("\n", 1)
    before = f"{head}\nopenssh: {hidden.decode().strip()}\n\n{rest}"
    assert await opened(before) == "ssh.bad_private_key"
    assert await opened(cheap.replace("KEY-----\n", "KEY-----\x1c\n", 1) + slow) != ""


async def test_a_key_nested_too_deep_is_refused() -> None:
    data = b""
    for _ in range(3000):
        size = len(data)
        length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
        data = b"0" + length + data
    text = binascii.b2a_base64(data).decode()
    pem = f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}-----END ENCRYPTED PRIVATE KEY-----\n"
    assert await opened(pem) == "ssh.bad_private_key"


async def test_so_is_a_pkcs8_key() -> None:
    data: Any = asn1.der_decode(KEY.export_private_key("pkcs8-der", PASSPHRASE))
    (name, ((kdf, (salt, count, *rest)), cipher)), body = data
    slow = asn1.der_encode(((name, ((kdf, (salt, 2_000 * MOST_ITERATIONS, *rest)), cipher)), body))
    text = binascii.b2a_base64(slow).decode()
    pem = f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}-----END ENCRYPTED PRIVATE KEY-----\n"
    assert count == 2048
    assert await opened(pem) == "ssh.slow_private_key"
