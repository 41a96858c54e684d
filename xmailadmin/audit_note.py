"""The end of the audit as the data directory remembers it.

Whoever can write to the database alone can cut the chain off, or write a new one. So this note
only ever moves on, and only from a row that is still there as it was noted: once the chain does
not fit it any more, it stays as it is and `verify` goes on saying so. Setting it anew is a
deliberate act: after a restore, on a new machine, or by `verify_audit --remember`.

It also says `sealed` once the end has borne its seal (audit_seal.py): that the database has none
does not mean, from then on, that it never had one.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from django.db import OperationalError, transaction

from xmailadmin import home
from xmailadmin.models import AuditEntry, AuditHead

__all__ = [
    "NOTE_FILE",
    "End",
    "advance",
    "head",
    "head_row",
    "mend",
    "noted",
    "read_head",
    "remember",
    "save_mended",
    "was_sealed",
]

NOTE_FILE = "audit.head"
SEALED = "sealed"
PATIENCE_S = 1.0  # for another process that has the note in hand; the next entry is noted as well

logger = logging.getLogger(__name__)


class End(NamedTuple):
    """The last row of a chain."""

    number: int
    sha256: str


def head() -> End:
    """Returns where the database says that the chain ends."""
    row = head_row()
    return End(row.number, row.sha256)


def head_row() -> AuditHead:
    """Returns the row of the end of the chain, mended."""
    return read_head()[0]


def read_head() -> tuple[AuditHead, bool]:
    """Returns the row of the end of the chain, mended, and whether it had to be."""
    try:
        row = AuditHead.objects.filter(pk=1).first() or AuditHead(pk=1)
    except OperationalError as error:
        if "UTF-8" not in str(error):
            raise
        row = AuditHead(pk=1, number=-1)
    return row, mend(row)


def mend(row: AuditHead) -> bool:
    """Puts what the portal can use in place of values that it never writes; False: there are none.

    The end is then the last entry that is there; whether it bears its seal is another question.
    """
    number: Any = row.number  # SQLite may hold anything
    whole = isinstance(number, int) and number >= 0 and isinstance(row.sha256, str)
    if not whole:
        row.number, row.sha256 = 0, ""
        with suppress(OperationalError, TypeError, ValueError):
            last = AuditEntry.objects.order_by("-number").values_list("number", "sha256").first()
            row.number, row.sha256 = last or (0, "")
    odd = [name for name in ("key_sealed", "seal") if not isinstance(getattr(row, name), str)]
    for name in odd:
        setattr(row, name, "")
    return bool(odd) or not whole


def save_mended() -> None:
    """Writes the mended row of the end of the chain."""
    with transaction.atomic():
        row = head_row()
        values = {name: getattr(row, name) for name in ("number", "sha256", "key_sealed", "seal")}
        AuditHead.objects.filter(pk=1).update(**values)


def noted() -> End | None:
    """Returns the end that is remembered; None if there is no note, or none that can be read."""
    with suppress(OSError, ValueError):
        number, sha256, *_sealed = _words()
        return End(int(number), sha256)
    return None


def was_sealed() -> bool:
    """True if the end has borne its seal since this note was begun."""
    with suppress(OSError, ValueError):
        return _words()[2:] == [SEALED]
    return False


def advance(end: End, *, whole: bool, sealed: bool) -> None:
    """Remembers `end` if it goes on from what is remembered; `whole`: it has the first row too."""
    with _in_hand() as mine:
        if not mine:
            return
        before = noted()
        if before is None and not whole:
            _tell_once("The data directory does not remember the end of the audit: verify_audit")
        elif before is not None and not _is_there(before):
            _tell_once("The audit does not fit the end that is remembered: run verify_audit")
        elif before is None or before.number < end.number:
            _write(end, sealed=sealed or was_sealed())


def remember() -> None:
    """Remembers where the chain ends now, whatever was remembered before."""
    with _in_hand():
        row = head_row()
        _write(End(row.number, row.sha256), sealed=bool(row.seal))


def _words() -> list[str]:
    return home.own_text(home.directory() / NOTE_FILE).split()


def _is_there(end: End) -> bool:
    rows = AuditEntry.objects.filter(number=end.number, sha256=end.sha256)
    return end.number == 0 or rows.exists()


def _write(end: End, *, sealed: bool) -> None:
    path = home.directory() / NOTE_FILE
    scratch = path.with_name(f".{NOTE_FILE}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(home.new_file(scratch, replacing=path), "w", encoding="ascii") as file:
            file.write(f"{end.number} {end.sha256 or '-'}{f' {SEALED}' if sealed else ''}\n")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def _in_hand() -> Iterator[bool]:
    """Keeps other processes and threads from the note; yields False if one of them is frozen."""
    path = home.directory() / f"{NOTE_FILE}.lock"
    descriptor = home.lock_file(path)
    try:
        yield _taken(descriptor)
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.005)
        else:
            return True


@functools.cache
def _tell_once(sentence: str) -> None:
    logger.error(sentence)
