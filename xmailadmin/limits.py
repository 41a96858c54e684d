"""Limits on wrong sign-ins that stop guessing without locking a colleague out.

Failures are counted from the audit. A browser in which a person has signed in before (it holds a
signed cookie) has a count of its own, which strangers cannot use up. All others are counted by
account and address together, by address, and at last by account alone; that last limit spares
addresses from which the person has signed in lately. Every limit ends by itself.

The audit knows a failure only when it is over. So each try also takes one of a few numbered places
in the cache before its password is looked at, and gives it back only when it was right: however
many come at once, no more are looked at than may fail. Who finds no place waits a moment while
one of those tries is still under way, for it may be right.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from allauth.account.adapter import get_adapter
from allauth.account.internal.userkit import get_user_by_username
from django.conf import settings
from django.core import signing
from django.core.cache import cache, caches
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.crypto import salted_hmac

from xmailadmin import audit, logs
from xmailadmin.models import AuditEntry, User

__all__ = [
    "FAILURES",
    "begin",
    "failed",
    "missed",
    "network_of",
    "passed",
    "record_few",
    "record_once",
    "remember_device",
    "too_many",
]

FAILURES = 5  # of one account from one address, or in one known browser, within WINDOW
FAILURES_OF_ADDRESS = 20  # whatever the account, within WINDOW
FAILURES_OF_ACCOUNT = 50  # from unknown addresses all over, within LONG_WINDOW
REFUSALS_A_MINUTE = 20  # of one kind and one person, on record
MINUTE = timedelta(minutes=1)
WAIT_S = 2.0  # for a place that another try may give back
TRYING, MISSED = "trying", "missed"
WINDOW = timedelta(minutes=5)
LONG_WINDOW = timedelta(hours=1)
LATELY = timedelta(days=30)

PLACE = "xmailadmin.try"  # in the cache, followed by how long it is kept
COOKIE = "__Host-device" if settings.HTTPS else "device"  # as the others, see settings.py
PEOPLE = 8  # who share a browser; the cookie has room for them
COOKIE_AGE_S = 365 * 24 * 3600
SALT = "xmailadmin.device"
COUNTED_S = 60  # of what anybody may ask for
ACTIONS = ("signin.failed", "second_factor.failed")


def begin(request: HttpRequest, username: str) -> list[str]:
    """Counts a try before its password or code is looked at; returns what passed() takes.

    Raises ValidationError if this account must not be tried from here for now.
    """
    user = _user(username)
    device = _device(request, user)
    if not _blocked(request, username, user, device) and (
        taken := _take(_counts(request, username, user, device))
    ):
        return taken
    record_once(request, "signin.blocked", user)
    raise get_adapter().validation_error("too_many_login_attempts")


def passed(taken: list[str]) -> None:
    """Takes back the count of a try that was right."""
    cache.delete_many(taken)


def missed(taken: list[str]) -> None:
    """Lets the count of a try that was wrong stand, and nobody wait for it."""
    for place in taken:
        length_s = int(place.removeprefix(f"{PLACE}:").partition(":")[0])
        cache.set(place, MISSED, length_s)


def failed(request: HttpRequest, username: str, *, second_factor: bool = False) -> None:
    """Puts a wrong password or code on record; never what was typed as a name nobody has."""
    user = _user(username)
    action = "second_factor.failed" if second_factor else "signin.failed"
    device = _device(request, user)
    audit.record(request, action, user, account=_tag(username), device=device)


def record_once(request: HttpRequest, action: str, user: User | None = None) -> None:
    """Puts on record what anybody could do endlessly: once an address and account within WINDOW."""
    about = str(user.pk) if user is not None else ""
    if not _recent(request, action).filter(object_id=about).exists():
        audit.record(request, action, user)


def record_few(request: HttpRequest, action: str) -> None:
    """Puts on record what a person is refused: a few times a minute, lest it fill the audit."""
    lately = AuditEntry.objects.filter(
        action=action, actor_id=request.user.pk, at__gt=timezone.now() - MINUTE
    )
    if lately.count() < REFUSALS_A_MINUTE:
        # As the log has it: what was refused may still be a link that works for whoever reads it.
        path = logs.masked(quote(request.path, errors="replace"))
        audit.record(request, action, method=(request.method or "")[:20], path=path[:200])


def too_many(request: HttpRequest, what: str, most: int) -> bool:
    """Counts this request; True once its address has sent more within the minute than it may.

    Each web process counts in its memory, so that strangers never write to the database for it.
    """
    network = network_of(audit.address_of(request))
    counts = caches["addresses"]
    key = f"{what}:{network}:{int(time.time() // COUNTED_S)}"
    if counts.add(key, 1, timeout=2 * COUNTED_S):
        return False
    try:
        return int(counts.incr(key)) > most
    except ValueError:  # dropped meanwhile
        return False


def remember_device(
    request: HttpRequest, response: HttpResponseBase, user: User, *, anew: bool = False
) -> None:
    """Lets this browser be known by the next time its person signs in; `anew` with no failures."""
    known = _devices(request)
    device = known.pop(str(user.pk), "")
    if anew or not device:
        device = secrets.token_hex(8)
    others = list(known.items())[1 - PEOPLE :]
    response.set_cookie(
        COOKIE,
        signing.dumps(dict([*others, (str(user.pk), device)]), salt=SALT),
        max_age=COOKIE_AGE_S,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _blocked(request: HttpRequest, username: str, user: User | None, device: str) -> bool:
    if device:
        everywhere = AuditEntry.objects.filter(
            action__in=ACTIONS, at__gt=timezone.now() - WINDOW, **_about(user)
        )
        tries = everywhere.values_list("detail", flat=True)
        return len([detail for detail in tries if detail.get("device") == device]) >= FAILURES
    here = _recent(request, *ACTIONS).values_list("detail", flat=True)
    strange = [detail for detail in here if not detail.get("device")]
    tag = _tag(username)
    if len([detail for detail in strange if detail.get("account") == tag]) >= FAILURES:
        return True
    return len(strange) >= FAILURES_OF_ADDRESS or _under_attack(request, user)


@dataclass(frozen=True)
class _Count:
    """What a try counts for, and how many may be under way or have failed within how long."""

    name: str
    limit: int
    window: timedelta = WINDOW

    def places(self) -> list[str]:
        length = round(self.window.total_seconds())
        return [f"{PLACE}:{length}:{self.name}:{number}" for number in range(self.limit)]


def _counts(request: HttpRequest, username: str, user: User | None, device: str) -> list[_Count]:
    tag = _tag(username)
    if device:
        return [_Count(f"{tag}:{device}", FAILURES)]
    network = network_of(audit.address_of(request))
    counts = [_Count(f"{tag}:{network}", FAILURES), _Count(f"{network}", FAILURES_OF_ADDRESS)]
    if not _is_known_here(request, user):
        counts.append(_Count(tag, FAILURES_OF_ACCOUNT, LONG_WINDOW))
    return counts


def _take(counts: list[_Count]) -> list[str]:
    """Takes a place of each count; none at all if one of them has none left."""
    give_up = time.monotonic() + WAIT_S
    while True:
        used = [cache.get_many(count.places()) for count in counts]  # clears ended ones away too
        full = [of for count, of in zip(counts, used, strict=True) if len(of) >= count.limit]
        if not full and (taken := _one_of_each(counts, used)):
            return taken
        if any(TRYING not in of.values() for of in full) or time.monotonic() > give_up:
            return []
        if not connection.in_atomic_block:
            connection.close()  # or those who wait would keep all of them from everybody else
        time.sleep(0.1)


def _one_of_each(counts: list[_Count], used: list[dict[str, str]]) -> list[str]:
    taken: list[str] = []
    for count, of in zip(counts, used, strict=True):
        free = (place for place in count.places() if place not in of)
        kept_s = count.window.total_seconds()
        got = next((place for place in free if cache.add(place, TRYING, kept_s)), "")
        if not got:  # others were quicker
            cache.delete_many(taken)
            return []
        taken.append(got)
    return taken


def _under_attack(request: HttpRequest, user: User | None) -> bool:
    if user is None:
        return False
    tries = AuditEntry.objects.filter(
        action__in=ACTIONS, at__gt=timezone.now() - LONG_WINDOW, **_about(user)
    ).values_list("detail", flat=True)
    strange = [detail for detail in tries if not detail.get("device")]
    return len(strange) >= FAILURES_OF_ACCOUNT and not _is_known_here(request, user)


def _is_known_here(request: HttpRequest, user: User | None) -> bool:
    """True if the person has signed in lately from where this comes from."""
    since = timezone.now() - LATELY
    seen = AuditEntry.objects.filter(action="signin", at__gt=since, **_about(user))
    here = network_of(audit.address_of(request))
    known = seen.order_by().values_list("address", flat=True).distinct()
    return here in {network_of(address) for address in known}


def _recent(request: HttpRequest, *actions: str) -> QuerySet[AuditEntry]:
    """Returns the rows of these actions from the request's address within WINDOW."""
    rows = AuditEntry.objects.filter(action__in=actions, at__gt=timezone.now() - WINDOW)
    network = network_of(audit.address_of(request))
    if network is None or network.version == 4:
        return rows.filter(address=audit.address_of(request))
    # Read and compared here: how a database writes IPv6 addresses is its own affair.
    recent = rows.exclude(address=None).values_list("pk", "address")
    return rows.filter(pk__in=[pk for pk, address in recent if network_of(address) == network])


def network_of(address: str | None) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Returns what one subscriber has: an IPv4 address, or a /64 of IPv6."""
    if not address:
        return None
    found = ipaddress.ip_address(address)
    return ipaddress.ip_network((found, 32 if found.version == 4 else 64), strict=False)


def _about(user: User | None) -> dict[str, str]:
    return {"object_type": "user", "object_id": str(user.pk) if user is not None else "-"}


def _user(username: str) -> User | None:
    # As for signing in: to a database, other letters may be the same as some of a name.
    user: User | None = get_user_by_username(username)
    return user


def _tag(username: str) -> str:
    """Returns what stands for a name in the audit: people mistype passwords as names."""
    return salted_hmac(SALT, username.lower(), algorithm="sha256").hexdigest()[:16]


def _device(request: HttpRequest, user: User | None) -> str:
    """Returns the id of a browser in which this person has signed in, "" for any other."""
    return _devices(request).get(str(user.pk), "") if user is not None else ""


def _devices(request: HttpRequest) -> dict[str, str]:
    """Returns the ids of this browser, one for each person who has signed in, the latest last."""
    try:
        found = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=COOKIE_AGE_S)
    except signing.BadSignature:
        return {}
    return found if isinstance(found, dict) else {}  # it was a list of two once
