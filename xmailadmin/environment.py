"""Settings that a person types into the environment, read so that a mistake is one clear sentence.

Every function raises home.HomeError, which names the variable, if its value cannot be meant.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

from xmailadmin import home

__all__ = ["address", "database", "mail", "networks", "number", "one_of", "time_zone"]

_env = environ.Env()


def number(name: str, default: int) -> int:
    """Returns a whole number of 1 or more."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise home.HomeError(f"{name} must be a whole number above 0, not {text}.")
    return int(text)


def one_of(name: str, choices: Sequence[str]) -> str:
    """Returns one of the words; without the variable the first one."""
    text = os.environ.get(name) or choices[0]
    if text not in choices:
        allowed = " or ".join(filter(None, choices))
        raise home.HomeError(f"{name} must be {allowed}, not {text}.")
    return text


def networks(
    name: str, default: Sequence[str] = ()
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Returns addresses and networks that are separated by commas."""
    found = []
    for text in _env.list(name, default=list(default)):
        try:
            found.append(ipaddress.ip_network(text.strip()))
        except ValueError:
            raise home.HomeError(
                f"{name}: {text} is neither an address nor a network such as 192.0.2.0/24."
            ) from None
    return tuple(found)


def address(name: str, default: str) -> str:
    """Returns an http:// or https:// address without a slash at its end; else the default."""
    text = os.environ.get(name, "").rstrip("/")
    if not text:
        return default
    try:
        url = urlsplit(text)
        good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is none
        good = False
    if not good:
        raise home.HomeError(
            f"{name} must be an address such as https://portal.example.jp, not {text}."
        )
    return text


def time_zone(name: str) -> str:
    """Returns the name of a time zone that this machine knows."""
    text = os.environ.get(name) or "UTC"
    try:
        ZoneInfo(text)
    except (OSError, ValueError, KeyError):
        raise home.HomeError(f"{name} must be a zone such as Asia/Tokyo, not {text}.") from None
    return text


def database(name: str, default: str) -> dict[str, Any]:
    """Returns Django's settings of the database. The sentence repeats no password."""
    url = home.url_from_environment(name, default)
    if urlsplit(url).scheme not in {"postgres", "postgresql", "sqlite"}:
        raise home.HomeError(f"{name} must begin with postgres:// or be left out, for SQLite.")
    return dict(_env.db_url_config(url))


def broker(name: str, default: str) -> str:
    """Returns the URL of the message broker. The sentence repeats no password."""
    url = home.url_from_environment(name, default)
    if urlsplit(url).scheme not in {"memory", "redis", "rediss", "redis+socket", "sentinel"}:
        raise home.HomeError(
            f"{name} must begin with redis:// or be left out, for one process alone."
        )
    return url


def mail(name: str) -> dict[str, Any]:
    """Returns Django's settings of the mail server. The sentence repeats no password."""
    try:
        return dict(_env.email_url_config(home.from_environment(name, "dummymail://")))
    except (ImproperlyConfigured, ValueError):
        raise home.HomeError(
            f"{name} cannot be read. Enter for example "
            "smtp+tls://user:password@mail.example.jp:587."
        ) from None
