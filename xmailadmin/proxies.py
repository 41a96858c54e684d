"""Who a request really comes from: proxies are believed only where they are trusted."""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

__all__ = ["TrustedProxiesMiddleware", "client_address"]

logger = logging.getLogger(__name__)
WITH_PORT = re.compile(r"\[(?P<six>[^\]]+)\](?::\d+)?|(?P<four>[\d.]+):\d+")
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
        request.META["REMOTE_ADDR"] = peer = _bare(request.META.get("REMOTE_ADDR", ""))
        if _trusted(peer):
            forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
            request.META["REMOTE_ADDR"] = client = client_address(peer, forwarded)
            if forwarded and client == peer:
                _tell_once(peer)
        else:
            for name in FORWARDED:
                request.META.pop(name, None)
        return self.get_response(request)


def client_address(peer: str, forwarded_for: str) -> str:
    """Returns the last address in the chain that no trusted proxy has.

    Each proxy appends the address it was reached from; what stands before that, anybody can write.
    """
    address = peer
    for claimed in map(_bare, reversed(forwarded_for.split(","))):
        if not _trusted(address) or not _is_address(claimed):
            break
        address = claimed
    return address


def _bare(claimed: str) -> str:
    """Returns the address of "192.0.2.1:4433" and "[2001:db8::1]:4433", as some proxies write, and
    of "fe80::1%eth0", whose interface is any text, and means something on one machine only."""
    found = WITH_PORT.fullmatch(claimed.strip())
    address = (found["six"] or found["four"]) if found else claimed.strip()
    return address.partition("%")[0]


@functools.cache
def _tell_once(peer: str) -> None:
    logger.warning(
        "The proxy %s names no client in X-Forwarded-For, so everybody seems to be the proxy", peer
    )


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
