"""Who a request really comes from: proxies are believed only where they are trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

__all__ = ["TrustedProxiesMiddleware", "client_address"]

FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_REAL_IP",
    "HTTP_FORWARDED",
)


class TrustedProxiesMiddleware:
    """Replaces the address of a trusted proxy by its client's; strips what others claim."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        peer = request.META.get("REMOTE_ADDR", "")
        if _trusted(peer):
            forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
            request.META["REMOTE_ADDR"] = client_address(peer, forwarded)
        else:
            for name in FORWARDED:
                request.META.pop(name, None)
        return self.get_response(request)


def client_address(peer: str, forwarded_for: str) -> str:
    """Returns the last address in the chain that no trusted proxy has.

    Each proxy appends the address it was reached from; what stands before that, anybody can write.
    """
    address = peer
    for claimed in reversed(forwarded_for.split(",")):
        if not _trusted(address) or not _is_address(claimed.strip()):
            break
        address = claimed.strip()
    return address


def _trusted(raw: str) -> bool:
    if not _is_address(raw):
        return False
    address = ipaddress.ip_address(raw)
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in settings.TRUSTED_PROXIES)


def _is_address(raw: str) -> bool:
    try:
        ipaddress.ip_address(raw)
    except ValueError:
        return False
    return True
