"""Opens a private SSH key, unless that would take long, which is known before it is tried.

A passphrase is made slow to try on purpose, and the key itself says how slow: up to years of work
that nothing could stop once it has begun. A long RSA key, or one for DSA, takes minutes by itself.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator

import asyncssh
from asyncssh.asn1 import ASN1DecodeError, der_decode, der_encode
from asyncssh.pbe import KeyEncryptionError, pkcs8_decrypt
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from certs.private_key import MOST_RSA_BITS, consistent, is_served_kind, too_long
from hosts.messages import Message, Param
from hosts.transports.base import TransportError

#: Rounds of bcrypt; ssh-keygen takes 16 or 24 unless told (-a), careful people 256. Some 7 ms each.
MOST_ROUNDS = 512
#: Iterations of PBKDF2 (PKCS#8); OpenSSL takes 2,048 unless told. A second for a million.
MOST_ITERATIONS = 1_000_000

_BEGIN, _PRIVATE_KEY, _END = "-----BEGIN ", " PRIVATE KEY-----", "-----END "
_OPENSSH = b"openssh-key-v1\x00"


_PLAIN = "-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n"
_UNREADABLE = (
    asyncssh.KeyImportError,
    KeyEncryptionError,
    ASN1DecodeError,
    ArithmeticError,
    InternalError,
    RecursionError,
    TypeError,
    UnsupportedAlgorithm,
    ValueError,
)


def open_key(text: str, passphrase: str) -> asyncssh.SSHKey:
    """The key, once `check_cost` has passed; takes up to seconds. Raises TransportError."""
    try:
        kind, body = _first_block(text)
        if kind == "ENCRYPTED":
            # Looked at between decrypting and loading: for DSA, loading does the reckoning.
            if not passphrase:
                raise _unreadable()
            decrypted = pkcs8_decrypt(der_decode(binascii.a2b_base64(body)), passphrase)
            kind, body = "PLAIN", _base64(der_encode(decrypted))
            text = _PLAIN % body
        if kind == "DSA" or (kind == "PLAIN" and not is_served_kind(binascii.a2b_base64(body))):
            raise _unused()
        key = asyncssh.import_private_key(
            text, passphrase or None, unsafe_skip_rsa_key_validation=True
        )
        _check_numbers(key.pyca_key)
    except _UNREADABLE:
        raise _unreadable() from None
    return key


def _check_numbers(key: object) -> None:
    """What the libraries check of an RSA key as well, but for proving that factors are primes."""
    if isinstance(key, dsa.DSAPrivateKey):
        raise _unused()
    if isinstance(key, rsa.RSAPrivateKey):
        if too_long(key):
            params: dict[str, Param] = {"most": MOST_RSA_BITS}
            raise TransportError(Message("ssh.long_private_key", params), permanent=True)
        if not consistent(key):
            raise _unreadable()


def check_cost(text: str) -> None:
    """Does nothing if the key can be opened within seconds; raises TransportError otherwise."""
    kind, body = _first_block(text)
    if kind == "PLAIN" and ":" in body:  # as below
        raise _unreadable()
    if kind not in {"OPENSSH", "ENCRYPTED"}:
        if text.lstrip().startswith("0"):  # bare DER, which no text field can hold
            raise _unreadable()
        return
    try:
        if ":" in body:  # a header, which would be left out when the key is read
            raise _unreadable()
        data = binascii.a2b_base64(body)
        cost, most = (
            (_rounds(data), MOST_ROUNDS)
            if kind == "OPENSSH"
            else (_iterations(data), MOST_ITERATIONS)
        )
    except (ValueError, IndexError, RecursionError, ASN1DecodeError):
        raise _unreadable() from None
    if cost > most:
        params = {"rounds": cost, "most": most}
        raise TransportError(Message("ssh.slow_private_key", params), permanent=True)


def _unreadable() -> TransportError:
    return TransportError(Message("ssh.bad_private_key"), permanent=True)


def _unused() -> TransportError:
    return TransportError(Message("ssh.unused_private_key"), permanent=True)


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data).decode()


def _first_block(text: str) -> tuple[str, str]:
    """The kind and the lines of the first private key in the text; "" without one."""
    kind, lines = "", []
    for line in (each.rstrip(" \t\n\r\f\v") for each in text.split("\n")):  # as bytes.rstrip
        if not kind and line.startswith(_BEGIN) and line.endswith(_PRIVATE_KEY):
            kind = line[len(_BEGIN) : -len(_PRIVATE_KEY)].strip() or "PLAIN"
        elif kind and line.startswith(_END):
            break
        elif kind:
            lines.append(line)
    return kind, "\n".join(lines)


def _rounds(data: bytes) -> int:
    """The rounds that an OpenSSH key names; 0 if it is not encrypted."""
    if not data.startswith(_OPENSSH):
        raise ValueError
    cipher, rest = _string(data[len(_OPENSSH) :])
    _kdf, rest = _string(rest)
    options, _ = _string(rest)
    if cipher == b"none":
        return 0
    _salt, rest = _string(options)
    return int.from_bytes(rest[:4], "big")


def _string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < end:
        raise ValueError
    return data[4:end], data[end:]


def _iterations(data: bytes) -> int:
    """The largest number among the parameters of an encrypted PKCS#8 key."""
    decoded = der_decode(data)
    return max(_numbers(decoded[0]), default=0) if isinstance(decoded, tuple) else 0


def _numbers(value: object) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _numbers(each)
