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
    user = request.user if request is not None else who
    known = isinstance(user, User)
    return AuditEntry.objects.create(
        actor=user if known else None,
        actor_name=user.get_username() if known else SYSTEM if who is None else "",
        address=request.META.get("REMOTE_ADDR") or None if request is not None else None,
        action=action,
        object_type=obj._meta.model_name or "" if obj is not None else "",
        object_id=str(obj.pk) if obj is not None else "",
        object_name=str(obj)[:200] if obj is not None else "",
        detail=detail,
    )
