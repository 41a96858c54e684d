"""Records who did what. The row is written in the caller's transaction: no row, no deed.

Each row holds a SHA-256 over itself and over the row before, and a row of its own (AuditHead)
says where the chain ends. That end bears a seal (audit_seal.py) and is also noted in the data
directory (audit_note.py), so that even somebody who can write a whole new chain into the database
is found out (`manage.py verify_audit`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError, models, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xmailadmin import audit_note, audit_seal
from xmailadmin.models import AuditEntry, AuditHead, User

__all__ = [
    "SHUT_OUT",
    "SYSTEM",
    "UNREADABLE",
    "Problem",
    "address_of",
    "as_json",
    "fits",
    "history_of",
    "record",
    "record_all",
    "still_allowed",
    "verify",
]

SYSTEM = "system"
SHUT_OUT = _(
    "Your account, or what it may do, was changed while this was under way. Nothing was saved. "
    "Sign in again, and look before you try once more."
)

CHUNK = 2000  # rows that are read at once
# What is no time, no JSON, or, in SQLite, no text; the last one is an error of the database there.
UNREADABLE = (TypeError, ValueError, OperationalError)
UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of characters

Value = str | int | bool | None
Detail = Value | list[str] | list[int] | dict[str, Value]


def record(
    who: HttpRequest | User | None, action: str, obj: models.Model | None = None, **detail: Detail
) -> AuditEntry:
    """Returns the new row that says that `who` (None: the system) did `action` to `obj`.

    Writers queue for the end of the chain until their transaction ends: record last. Raises
    PermissionDenied if the person of a request is let in no more.
    """
    return record_all(who, action, [(obj, detail)])[0]


def record_all(
    who: HttpRequest | User | None,
    action: str,
    told: Iterable[tuple[models.Model | None, Mapping[str, Detail]]],
) -> list[AuditEntry]:
    """Returns the new rows that say it of each object with its detail, written all at once."""
    request = who if isinstance(who, HttpRequest) else None
    person = who.user if isinstance(who, HttpRequest) else who
    user = person if isinstance(person, User) else None
    nobody = SYSTEM if who is None else ""
    told = list(told)
    if not told:
        return []
    entries = []
    with transaction.atomic():
        head, _made = AuditHead.objects.select_for_update().get_or_create(pk=1)
        if request is not None:
            still_allowed(request)
        audit_note.mend(head)
        end = audit_note.End(head.number, head.sha256)
        for obj, detail in told:
            entry = AuditEntry(
                number=end.number + 1,
                previous=end.sha256,
                at=_now(),
                actor=user,
                actor_name=nobody if user is None else user.get_username(),
                address=address_of(request),
                action=action,
                object_type=obj._meta.model_name or "" if obj is not None else "",
                object_id=str(obj.pk) if obj is not None else "",
                object_name=_storable(str(obj)[:200]) if obj is not None else "",
                detail={name: _storable(value) for name, value in detail.items()},
            )
            entry.sha256 = _hash(entry)
            end = audit_note.End(entry.number, entry.sha256)
            entries.append(entry)
        AuditEntry.objects.bulk_create(entries)
        sealed = audit_seal.move(head, *end)
        head.save()
        whole = end.number == len(entries)
        note = partial(audit_note.advance, end, whole=whole, sealed=sealed)
        transaction.on_commit(note, robust=True)
    return entries


def still_allowed(request: HttpRequest) -> None:
    """Raises PermissionDenied if the person was shut out, or lost the role, since the request came.

    record() asks it at the end of the chain, where whoever decides that stands on record too:
    either the deed is there before the decision, or it is not done.
    """
    if not isinstance(request.user, User):
        return
    session = getattr(request, "session", None)
    key = getattr(session, "session_key", None)
    ended = session is not None and key is not None and not session.exists(key)
    now = request.user.as_read().first()
    needed = getattr(request, "permission", "")
    if now is None or ended or (needed and not now.has_perm(needed)):
        raise PermissionDenied(SHUT_OUT)


def _storable(value: Any) -> Any:
    """Returns the value without what PostgreSQL keeps in no text, so that no row fails for it."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return value


def address_of(request: HttpRequest | None) -> str | None:
    """Returns the client's address; an IPv4 address stays one on an IPv6 socket."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "") if request else "")
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def history_of(obj: models.Model) -> models.QuerySet[AuditEntry]:
    """Returns what was done to `obj`, the newest first."""
    return AuditEntry.objects.filter(object_type=obj._meta.model_name, object_id=str(obj.pk))


def as_json(entry: AuditEntry) -> str:
    """Returns the row as one line of JSON."""
    return _canonical({**_content(entry), "sha256": entry.sha256})


def fits(entry: AuditEntry) -> bool:
    """True if the row is as it was written."""
    try:
        return entry.sha256 == _hash(entry)
    except (AttributeError, TypeError, ValueError):  # no time, no JSON: the portal wrote no such
        return False


@dataclass(frozen=True)
class Problem:
    """Where the chain is broken: changed, missing, unlinked, rewritten, cut, added or unsealed.

    odd: the row that says where the chain ends holds what the portal never writes there.

    unnoted: the data directory does not remember its end, so that nobody knows if one was cut off.
    """

    number: int
    code: str


def verify() -> Iterator[Problem]:
    """Yields whatever is wrong with the chain, in the order of its rows; nothing if all is well.

    Rows that are added meanwhile are left for the next time.
    """
    number, sha256 = 0, ""
    noted = audit_note.noted()
    head, odd = audit_note.read_head()
    if odd:
        yield Problem(head.number, "odd")
    end = audit_note.End(head.number, head.sha256)
    sealed = audit_seal.fits(head)  # now, while its master key is at hand in any case
    for entry in _rows_until(end.number):
        if entry.number != number + 1:
            yield Problem(number + 1, "missing")
        elif entry.previous != sha256:
            yield Problem(entry.number, "unlinked")
        if not fits(entry):
            yield Problem(entry.number, "changed")
        if noted and entry.number == noted.number and entry.sha256 != noted.sha256:
            yield Problem(entry.number, "rewritten")
        number, sha256 = entry.number, entry.sha256
    if (number, sha256) != end or (noted and number < noted.number):
        yield Problem(number + 1, "cut")
    beyond = AuditEntry.objects.filter(number__gt=audit_note.head().number).order_by("number")
    try:
        last = beyond.values_list("number", flat=True).last()
    except OperationalError:  # a number that is no text either
        last = end.number + 1
    if last is not None:
        yield Problem(last, "added")
    if end.number and not sealed:
        yield Problem(audit_seal.unsealed_from(head), "unsealed")
    if noted is None and number:
        yield Problem(number, "unnoted")


def _rows_until(end: int) -> Iterator[AuditEntry]:
    """Yields the rows of the chain. Of one that cannot be read there are at most the links."""
    rows, last = AuditEntry.objects.filter(number__lte=end).order_by("number"), -1
    while True:
        try:
            for entry in rows.filter(number__gt=last).iterator(chunk_size=CHUNK):
                yield entry
                last = entry.number
        except UNREADABLE:
            numbers = rows.filter(number__gt=last).values_list("number", flat=True)[:CHUNK]
            for last in list(numbers):
                yield _row(last)
        else:
            return


def _row(number: int) -> AuditEntry:
    """Returns a row, or, of one that cannot be read, what links it to the others."""
    rows = AuditEntry.objects.filter(number=number)
    try:
        return rows.get()
    except UNREADABLE:
        pass
    try:
        previous, sha256 = rows.values_list("previous", "sha256").get()
    except UNREADABLE:
        previous = sha256 = ""
    return AuditEntry(number=number, previous=previous, sha256=sha256)


def _now() -> datetime:
    """Returns the time in whole milliseconds: a backup keeps no more, and the hash covers it."""
    now = timezone.now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _content(entry: AuditEntry) -> dict[str, object]:
    return {
        "number": entry.number,
        "previous": entry.previous,
        "at": entry.at.isoformat(),
        "actor": entry.actor_id,
        "actor_name": entry.actor_name,
        "address": entry.address,
        "action": entry.action,
        "object_type": entry.object_type,
        "object_id": entry.object_id,
        "object_name": entry.object_name,
        "detail": entry.detail,
    }


def _canonical(content: dict[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _hash(entry: AuditEntry) -> str:
    return hashlib.sha256(_canonical(_content(entry)).encode()).hexdigest()
