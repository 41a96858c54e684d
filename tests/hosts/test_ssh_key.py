"""Private keys that say how long it takes to open them."""

from __future__ import annotations

import binascii
import struct
import time
from typing import Any

import asyncssh
import pytest
from asyncssh import asn1, pbe

from certs.private_key import MOST_RSA_BITS
from hosts.messages import Message
from hosts.transports import TransportError
from hosts.transports.base import Credential
from hosts.transports.ssh import _client_keys
from hosts.transports.ssh_key import MOST_ITERATIONS, MOST_ROUNDS
from tests.certs.test_pair_bounds import LONG, SHORT, mersenne, pkcs1, pkcs8, rsa_numbers
from tests.hosts.speech import spoken

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


def encrypted(pem: bytes) -> str:
    """The same PKCS#8 key with the passphrase, whatever it holds."""
    data = binascii.a2b_base64(b"".join(pem.split(b"\n")[1:-2]))
    sealed = pbe.pkcs8_encrypt(data, "aes256-cbc", "sha256", 2, PASSPHRASE)
    text = binascii.b2a_base64(sealed).decode()
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}-----END ENCRYPTED PRIVATE KEY-----\n"


def exported(numbers: dict[str, int], form: str, passphrase: str | None = None) -> str:
    key = asyncssh.import_private_key(pkcs1(numbers), unsafe_skip_rsa_key_validation=True)
    return key.export_private_key(form, passphrase, rounds=128).decode()


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
async def test_a_long_rsa_key_is_refused_whatever_holds_it(
    form: str, passphrase: str | None
) -> None:
    assert await opened(exported(mersenne(SHORT), form, passphrase)) == ""
    key = exported(mersenne(LONG), form, passphrase)
    assert await opened(key) == "ssh.long_private_key"
    said = spoken(Message("ssh.long_private_key", {"most": MOST_RSA_BITS}))
    assert "RSA keys over 8192 bits are not accepted" in said


async def test_rsa_numbers_must_belong_together_but_are_not_proven_primes() -> None:
    numbers = mersenne(SHORT)
    numbers["dmp1"] -= 2
    assert await opened(pkcs1(numbers).decode()) == "ssh.bad_private_key"
    composite = rsa_numbers(2**4000 - 3, 2**4001 - 5)
    assert await opened(pkcs1(composite).decode()) == ""


async def test_a_dsa_key_is_not_reckoned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its public key is derived when it is loaded: minutes for one of some kilobytes."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(asyncssh, "import_private_key", load)
    long = pkcs8("06072a8648ce380401", 2**50_000 - 105, 2**255, 3, 2**49_000)
    assert await opened(long.decode()) == "ssh.unused_private_key"
    assert await opened(encrypted(long)) == "ssh.unused_private_key"
    assert await opened(encrypted(long).replace("KEY-----\n", "KEY-----\nA: b\n\n", 1)) != ""
    headed = long.decode().replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1)
    assert await opened(headed) == "ssh.bad_private_key"


async def test_an_encrypted_key_of_a_kind_in_use_is_opened() -> None:
    for kind in ("ssh-ed25519", "ssh-ed448", "ecdsa-sha2-nistp521", "ssh-rsa"):
        key = asyncssh.generate_private_key(kind)
        assert await opened(encrypted(key.export_private_key("pkcs8-pem"))) == "", kind
        assert await opened(key.export_private_key("openssh").decode()) == "", kind


async def test_a_factor_of_one_is_no_crash() -> None:
    numbers = mersenne(SHORT) | {"p": 1}
    numbers["q"] = numbers["n"]
    assert await opened(pkcs1(numbers).decode()) == "ssh.bad_private_key"
