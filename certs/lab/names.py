"""Makes a host name lead to loopback for one client, without touching the machine's settings."""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path

__all__ = ["Unreachable", "check", "environment"]

WRAPPERS = ("/usr/lib/*/libnss_wrapper.so", "/usr/lib*/libnss_wrapper.so")


class Unreachable(Exception):
    """The name leads elsewhere, and nothing here can change that."""


def environment(name: str, folder: Path) -> dict[str, str]:
    """Returns the environment in which `name` leads to loopback. Raises Unreachable."""
    wrapper = check(name)
    if wrapper is None:
        return {}
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 {name}\n", encoding="utf-8")
    return {"LD_PRELOAD": str(wrapper), "NSS_WRAPPER_HOSTS": str(hosts)}


def check(name: str) -> Path | None:
    """Returns what is needed to make `name` lead to loopback, if anything. Raises Unreachable."""
    if _is_loopback(name):
        return None
    wrapper = next((path for glob in WRAPPERS for path in Path("/").glob(glob[1:])), None)
    if wrapper is None:
        raise Unreachable(name)
    return wrapper


@cache
def _is_loopback(name: str) -> bool:
    try:
        found = socket.getaddrinfo(name, None)
    except OSError:
        return False
    return all(str(each[4][0]) in ("127.0.0.1", "::1") for each in found)
