"""One encrypted file that is written and read as a stream, whatever its size.

`XMAILADMIN1`, a salt, then frames: each a length and its AES-256-GCM ciphertext. The key comes from
a passphrase by scrypt (RFC 7914). The nonce counts the frames and its last byte marks the final
one, so that frames that were changed, left out, reordered or cut off at the end do not open.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Iterator
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

__all__ = ["FRAME", "SealedFileError", "open_frames", "seal_frames"]

MAGIC = b"XMAILADMIN1\n"
SALT = 16
FRAME = 1 << 20  # bytes of plaintext at most
_LENGTH = struct.Struct(">I")


class SealedFileError(Exception):
    """The file cannot be opened: the passphrase is wrong, or it is damaged or no such file."""


def seal_frames(frames: Iterable[bytes], file: IO[bytes], passphrase: str) -> None:
    """Writes the frames to `file`, encrypted with a key from the passphrase."""
    salt = secrets.token_bytes(SALT)
    cipher = AESGCM(_key(passphrase, salt))
    file.write(MAGIC + salt)
    count = 0
    for count, frame in enumerate(frames, 1):
        _write(file, cipher.encrypt(_nonce(count), frame, MAGIC))
    _write(file, cipher.encrypt(_nonce(count + 1, last=True), b"", MAGIC))


def open_frames(file: IO[bytes], passphrase: str) -> Iterator[bytes]:
    """Yields the frames of `file`. Raises SealedFileError, at the latest where the damage is."""
    if file.read(len(MAGIC)) != MAGIC:
        raise SealedFileError("This is not a backup of xmailadmin.")
    cipher = AESGCM(_key(passphrase, file.read(SALT)))
    count = 0
    while True:
        count += 1
        sealed = _read(file)
        try:
            yield cipher.decrypt(_nonce(count), sealed, MAGIC)
        except InvalidTag:
            break
    try:
        cipher.decrypt(_nonce(count, last=True), sealed, MAGIC)
    except InvalidTag:
        raise SealedFileError("The passphrase is wrong, or the file is damaged.") from None
    if file.read(1):
        raise SealedFileError("The file is damaged: something follows its end.")


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**17, r=8, p=1).derive(passphrase.encode())


def _nonce(count: int, *, last: bool = False) -> bytes:
    return count.to_bytes(11, "big") + bytes([last])


def _write(file: IO[bytes], sealed: bytes) -> None:
    file.write(_LENGTH.pack(len(sealed)) + sealed)


def _read(file: IO[bytes]) -> bytes:
    head = file.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    sealed = file.read(length) if length <= FRAME + 16 else b""
    if not length or len(sealed) != length:
        raise SealedFileError("The passphrase is wrong, or the file is damaged or cut off.")
    return sealed
