"""Records who did what. The row is written in the caller's transaction: no row, no deed."""

from __future__ import annotations

from django.db import models
from django.http import HttpRequest

from xmailadmin.models import AuditEntry, User

__all__ = ["SYSTEM", "record"]

SYSTEM = "system"

Detail = str | int | bool | None | list[str] | list[int]


def record(
    who: HttpRequest | User | None, action: str, obj: models.Model | None = None, **detail: Detail
) -> AuditEntry:
    """Returns the new row that says that `who` (None: the system) did `action` to `obj`."""
    request = who if isinstance(who, HttpRequest) else None
    person = who.user if isinstance(who, HttpRequest) else who
    user = person if isinstance(person, User) else None
    nobody = SYSTEM if who is None else ""
    return AuditEntry.objects.create(
        actor=user,
        actor_name=nobody if user is None else user.get_username(),
        address=request.META.get("REMOTE_ADDR") or None if request is not None else None,
        action=action,
        object_type=obj._meta.model_name or "" if obj is not None else "",
        object_id=str(obj.pk) if obj is not None else "",
        object_name=str(obj)[:200] if obj is not None else "",
        detail=detail,
    )
