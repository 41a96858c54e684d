"""What somebody changed on a host by hand: put it on record, or mend it. Nothing is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from certs.models import Pair
from certs.models.lease import free, lease_end, new_token
from hosts.mailroot import CERTIFICATE, KEY
from hosts.messages import Message
from hosts.models import Host
from hosts.models.host import ChangedMeanwhile
from hosts.transports import REGISTRY, Target, TransportError, open_transport
from hosts.transports.base import PRIVATE_MODE
from hosts.waiting import wait_for
from xmailadmin import audit
from xmailadmin.vault import VaultError

if TYPE_CHECKING:
    from xmailadmin.models import User

__all__ = ["Refused", "adopt", "can_mend", "mend_mode", "say_mended"]


class Refused(Exception):
    """It could not be done; `message` says why and what to do."""

    def __init__(self, message: Message) -> None:
        super().__init__(str(message))
        self.message = message


def adopt(host: Host, *, by: HttpRequest | User | None) -> Pair:
    """Puts the pair that lies on the host on record as the host's own, and returns it.

    Raises Refused if the host cannot be read, or if XMail could not use what lies there.
    """
    with _held(host) as token:
        key, certificate = _do(_read(_target(host)))
        if key is None and certificate is None:
            raise Refused(Message("byhand.no_pair", {"host": host.name}))
        with transaction.atomic():
            try:
                host.lock(host.connection())
            except ChangedMeanwhile:  # what was read may lie elsewhere than where it is now
                raise Refused(Message("registration.changed_meanwhile")) from None
            if not Host.objects.filter(pk=host.pk, token=token).exists():
                raise Refused(Message("byhand.busy", {"host": host.name}))
            pair = Pair.objects.adopt(key, certificate, found_on=host.name)
            if not pair.usable:
                raise Refused(Message("byhand.unusable", {"host": host.name}))
            values: dict[str, Any] = {"pair": pair, "installed_at": timezone.now()}
            if REGISTRY[host.transport].identity_is_pair:
                values["trust_fingerprint"] = pair.sha256
            Host.objects.filter(pk=host.pk).update(**values)
            audit.record(by, "host.adopt", host, pair=pair.pk, before=host.pair_id)
    return pair


def can_mend(host: Host) -> bool:
    """Whether the portal can set the mode of a key on this host."""
    kind = REGISTRY[host.transport]
    return host.os == Host.OS.UNIX and not kind.identity_is_pair


def mend_mode(host: Host, *, by: HttpRequest | User | None) -> None:
    """Makes the private key on the host readable by its owner alone. Raises Refused.

    It is on record before the host is touched, since nobody can take that back if it is not.
    """
    with _held(host):
        target = _target(host)
        with transaction.atomic(durable=True):
            audit.record(by, "host.mend", host)
        _do(_set_private(target))


def say_mended(host: Host, *, by: HttpRequest | User | None) -> None:
    """Records that a person has mended the mode of the key where the portal cannot see it."""
    with transaction.atomic():
        Host.objects.filter(pk=host.pk).update(key_open=False)
        audit.record(by, "host.mended", host)


def _do(work: Any) -> Any:
    try:
        return wait_for(work)
    except TransportError as error:
        raise Refused(error.message) from None


async def _read(target: Target) -> tuple[bytes | None, bytes | None]:
    async with open_transport(target) as transport:
        return await transport.read(KEY), await transport.read(CERTIFICATE)


async def _set_private(target: Target) -> None:
    async with open_transport(target) as transport:
        await transport.set_mode(KEY, PRIVATE_MODE)


def _target(host: Host) -> Target:
    try:
        return host.target()
    except VaultError:
        raise Refused(Message("deploy.vault")) from None


@contextmanager
def _held(host: Host) -> Iterator[str]:
    """Keeps installations off the host meanwhile; raises Refused if one is under way."""
    token = new_token()
    claimed = Host.objects.filter(free(), pk=host.pk)
    if not claimed.update(token=token, lease_until=lease_end()):
        raise Refused(Message("byhand.busy", {"host": host.name}))
    try:
        yield token
    finally:
        Host.objects.filter(pk=host.pk, token=token).update(token="", lease_until=None)
