"""Seals secrets at rest.

A sealed text is `v1.<key id>.<base64 of wrapped data key and ciphertext>`. Each has a data key of
its own (AES-256-GCM), wrapped with AES-256-GCM by a master key that lives outside the database.
Both layers are bound to the place the secret belongs to (table, row and field), so that a sealed
text that was moved or altered does not open.

The first master key seals; all of them open, which is what a rotation needs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import models

from xmailadmin import home

__all__ = [
    "KEY_FILE",
    "VaultError",
    "add_master_key",
    "create_master_key",
    "drop_old_master_keys",
    "export_master_keys",
    "ids_of",
    "joined",
    "key_ids",
    "open_sealed",
    "place",
    "seal",
    "sealed_by",
]

KEY_FILE = "master.key"
_SEALED = re.compile(r"v1\.([0-9a-f]{16})\.")
NONCE, TAG, KEY = 12, 16, 32  # bytes, NIST SP 800-38D


class VaultError(Exception):
    """A secret cannot be sealed or opened; the text says why and never holds the secret."""


def place(row: models.Model, field: str) -> str:
    """Returns what a secret of `row` is bound to. The row must have its primary key already."""
    if row.pk is None:
        raise VaultError("A secret can be sealed only for a row that is saved.")
    return f"{row._meta.db_table}:{row.pk}:{field}"


def seal(secret: bytes, bound_to: str) -> str:
    """Returns `secret` sealed for `bound_to` with the first master key."""
    key_id, master = next(iter(_master_keys().items()))
    data_key = secrets.token_bytes(KEY)
    wrap_nonce, nonce = secrets.token_bytes(NONCE), secrets.token_bytes(NONCE)
    header = f"v1.{key_id}."
    binding = (header + bound_to).encode()
    wrapped = AESGCM(master).encrypt(wrap_nonce, data_key, binding)
    body = AESGCM(data_key).encrypt(nonce, secret, bound_to.encode())
    return header + base64.b64encode(wrap_nonce + wrapped + nonce + body).decode()


def open_sealed(sealed: str, bound_to: str) -> bytes:
    """Returns the secret in `sealed`.

    Raises VaultError if its master key is not at hand, or if it was altered or belongs elsewhere.
    """
    try:
        version, key_id, text = sealed.split(".")
        blob = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):  # SQLite may hold bytes, too
        raise VaultError("A sealed secret is damaged.") from None
    if version != "v1":
        raise VaultError("A sealed secret has a form that this version does not know.")
    master = _master_keys().get(key_id)
    if master is None:
        raise VaultError(f"The master key {key_id} that sealed a secret is not at hand.")
    wrap_nonce, rest = blob[:NONCE], blob[NONCE:]
    wrapped, rest = rest[: KEY + TAG], rest[KEY + TAG :]
    nonce, body = rest[:NONCE], rest[NONCE:]
    try:
        data_key = AESGCM(master).decrypt(wrap_nonce, wrapped, f"v1.{key_id}.{bound_to}".encode())
        return AESGCM(data_key).decrypt(nonce, body, bound_to.encode())
    except (InvalidTag, ValueError):
        raise VaultError("A sealed secret was altered or belongs to another row.") from None


def key_ids() -> list[str]:
    """Returns the ids of the master keys at hand, the sealing one first."""
    return list(_master_keys())


def sealed_by(sealed: str) -> str:
    """Returns the id of the master key that sealed a text; "" if it is no sealed text."""
    try:
        found = _SEALED.match(sealed)
    except TypeError:  # bytes
        return ""
    return found[1] if found else ""


def export_master_keys() -> str:
    """Returns the master keys as they are configured, for a backup that is itself encrypted."""
    return ",".join(_encode(key) for key in _master_keys().values())


def ids_of(master_keys: str) -> set[str]:
    """Returns the ids of the master keys in a text such as export_master_keys() gives."""
    return set(_parse(master_keys))


def joined(*master_keys: str) -> str:
    """Returns such texts as one that names each key once; the first of the first one seals."""
    return ",".join(map(_encode, _parse(",".join(master_keys)).values()))


def add_master_key() -> None:
    """Puts a new master key before those in the data directory: it seals from now on.

    Raises VaultError where the keys come from the environment, which only a person can change.
    """
    _write_keys([secrets.token_bytes(KEY), *_master_keys().values()])


def drop_old_master_keys() -> None:
    """Keeps only the first master key in the data directory."""
    _write_keys(list(_master_keys().values())[:1])


def _write_keys(keys: list[bytes]) -> None:
    if home.from_environment("XMAILADMIN_MASTER_KEYS"):
        raise VaultError("The master keys come from XMAILADMIN_MASTER_KEYS and are changed there.")
    home.replace_secret(home.directory() / KEY_FILE, ",".join(map(_encode, keys)))


def create_master_key() -> None:
    """Makes the first master key in the data directory, unless one is configured or there."""
    if home.from_environment("XMAILADMIN_MASTER_KEYS"):
        return
    path = home.directory() / KEY_FILE
    if not path.exists():
        home.secret("XMAILADMIN_MASTER_KEYS", KEY_FILE, _encode(secrets.token_bytes(KEY)))
        _parse.cache_clear()


def _master_keys() -> dict[str, bytes]:
    text = home.from_environment("XMAILADMIN_MASTER_KEYS")
    if not text:
        path = home.location() / KEY_FILE
        try:
            text = home.own_text(path)
        except FileNotFoundError:
            raise VaultError(
                f"There is no master key: put it back at {path}, or set XMAILADMIN_MASTER_KEYS."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise VaultError(
                f"The master key {path} cannot be read: {home.reason(error)}."
            ) from None
        if not text.strip(", \n"):
            raise VaultError(
                f"The master key {path} is empty: put its content back, or restore a backup."
            )
    return _parse(text)


@lru_cache(maxsize=4)
def _parse(text: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for word in text.replace(",", " ").split():
        try:
            key = base64.b64decode(word, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            key = b""
        if len(key) != KEY:
            raise VaultError(
                "A master key must be 32 bytes in base64. Look at XMAILADMIN_MASTER_KEYS, or at "
                "master.key in the data directory."
            )
        keys[hashlib.sha256(b"xmailadmin master key" + key).hexdigest()[:16]] = key
    if not keys:
        raise VaultError("XMAILADMIN_MASTER_KEYS holds no key.")
    return keys


def _encode(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()
