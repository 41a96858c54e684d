"""The seal on the end of the audit: who can write to the database, but has no master key, has none.

It is an HMAC over number and hash of the last entry, and so over the whole chain. Its key is a
secret of the vault like any other, but one that a process opens once. The seal goes on with each
entry, but only from an end that bears it: beside a forged one it stays where it was, since the
next entry would vouch for what was forged, and `verify` goes on saying so.
"""

from __future__ import annotations

import functools
import hmac
import logging
import secrets

from django.db import transaction

from xmailadmin import vault
from xmailadmin.models import AuditHead, User

__all__ = ["begin", "fits", "move", "renew", "unsealed_from"]

KEY = 32  # bytes
DIGITS = 20  # no number of an entry has as many

logger = logging.getLogger(__name__)


def begin(head: AuditHead) -> None:
    """Puts a seal with a key of its own on the end as it is. Raises vault.VaultError."""
    key = secrets.token_bytes(KEY)
    head.key_sealed = vault.seal(key, vault.place(head, "key_sealed"))
    head.seal = _seal(key, head.number, head.sha256)


def move(head: AuditHead, number: int, sha256: str) -> bool:
    """Moves the end of the chain on, and the seal along if the end until now bears it.

    Returns whether it does now.
    """
    new = not (head.number or head.sha256 or head.seal or head.key_sealed)
    sealed = not new and fits(head)
    head.number, head.sha256 = number, sha256
    try:
        if new and _was_in_use():
            _tell_once("The audit is empty, though people have signed in: run verify_audit")
            return False
        if new:
            begin(head)
        elif sealed:
            head.seal = _seal(_key(head), number, sha256)
        else:
            _tell_once("The end of the audit does not bear its seal: run verify_audit")
    except vault.VaultError as error:
        _tell_once(f"The audit goes on without a seal: {error}")
        return False
    return new or sealed


def fits(head: AuditHead) -> bool:
    """True if the end of the chain bears the portal's seal."""
    return head.seal == _expected(head, head.number, head.sha256)


def unsealed_from(head: AuditHead) -> int:
    """Returns the number of the first entry that no seal covers."""
    number, _, rest = head.seal.partition(".")
    digits = number.isascii() and number.isdigit() and len(number) < DIGITS
    if digits and int(number) < head.number:
        sha256 = rest.partition(".")[0]
        if head.seal == _expected(head, int(number), sha256):
            return int(number) + 1
    return head.number


def renew(*, whatever: bool = False) -> None:
    """Makes a new key for the seal, if that is where it belongs; `whatever`: in any case."""
    with transaction.atomic():
        head = AuditHead.objects.select_for_update().filter(pk=1).first()
        if head and head.number and (whatever or fits(head)):
            begin(head)
            head.save(update_fields=["key_sealed", "seal"])


def _was_in_use() -> bool:
    """True if somebody has signed in, which is in every audit: one without entries was emptied."""
    return User.objects.filter(last_login__isnull=False).exists()


def _expected(head: AuditHead, number: int, sha256: str) -> str | None:
    try:
        return _seal(_key(head), number, sha256)
    except vault.VaultError:
        return None


def _seal(key: bytes, number: int, sha256: str) -> str:
    end = f"{number}.{sha256}"
    return f"{end}.{hmac.digest(key, f'xmailadmin audit {end}'.encode(), 'sha256').hex()}"


def _key(head: AuditHead) -> bytes:
    return _opened(head.key_sealed, vault.place(head, "key_sealed"))


@functools.lru_cache(maxsize=2)
def _opened(key_sealed: str, place: str) -> bytes:
    """Opens a key once: a new master key, or a new key of the seal, comes with a new text."""
    return vault.open_sealed(key_sealed, place)


@functools.cache
def _tell_once(sentence: str) -> None:
    logger.error(sentence)
