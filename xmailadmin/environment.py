"""Settings that a person types into the environment, read so that a mistake is one clear sentence.

Every function raises home.HomeError, which names the variable, if its value cannot be meant.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

from xmailadmin import home

__all__ = [
    "address",
    "as_it_is",
    "broker",
    "database",
    "directories",
    "flag",
    "host_names",
    "mail",
    "networks",
    "number",
    "one_of",
    "secret_key",
    "time_zone",
]

YES, NO = ("1", "true", "yes", "on", "y", "ok"), ("0", "false", "no", "off", "n")
SHORTEST, FEWEST = 32, 5  # characters of a secret key, and different ones among them
#: What may stand behind the `?` of a database's address and is no option of its driver.
SWITCHES = ("ATOMIC_REQUESTS", "AUTOCOMMIT", "CONN_HEALTH_CHECKS", "DISABLE_SERVER_SIDE_CURSORS")

HOST_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")

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


def as_it_is(name: str, default: str) -> str:
    """Returns what is there as it is: also a `$` at its beginning names no other variable."""
    return os.environ.get(name) or default


def flag(name: str, *, default: bool) -> bool:
    """Returns whether a word says yes or no."""
    word = os.environ.get(name, "").strip().lower()
    if word and word not in YES + NO:
        raise home.HomeError(f"{name} must be 1 or 0, not {word}.")
    return word in YES if word else default


def listed(name: str) -> list[str]:
    """Returns the words that are separated by commas."""
    return [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]


def host_names(name: str) -> list[str]:
    """Returns names and addresses by which a browser may ask; `*` stands for any."""
    for word in listed(name):
        if not re.fullmatch(r"[\w.:*\[\]-]+", word):
            raise home.HomeError(f"{name}: {word} is no name such as portal.example.jp.")
    return listed(name)


def directories(name: str) -> list[Path]:
    """Returns absolute paths."""
    for word in listed(name):
        if not Path(word).is_absolute():
            raise home.HomeError(f"{name}: {word} is no absolute path such as /var/MailRoot.")
    return [Path(word) for word in listed(name)]


def secret_key(name: str, filename: str) -> str:
    """Returns the key of sessions and forms, made when there is none."""
    key = home.secret(name, filename, secrets.token_urlsafe(64))
    if len(key) < SHORTEST or len(set(key)) < FEWEST:
        raise home.HomeError(
            f"{name}, or else {filename}, can be guessed: it must have {SHORTEST} random "
            "characters or more. Let `openssl rand -base64 48` make one; everybody signs in again."
        )
    return key


def networks(
    name: str, default: Sequence[str] = ()
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Returns addresses and networks that are separated by commas."""
    found = []
    for text in listed(name) or default:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            raise home.HomeError(
                f"{name}: {text} is neither an address nor a network such as 192.0.2.0/24."
            ) from None
    return tuple(found)


def address(name: str, default: str) -> str:
    """Returns an http:// or https:// address without a slash at its end; else the default.

    There is nothing in it but a name or IP address and a port: links are made of it.
    """
    text = os.environ.get(name, "").rstrip("/")
    if not text:
        return default
    try:
        url = urlsplit(text)
        host = url.hostname or ""
        good = url.scheme in {"http", "https"} and url.port != 0
        good = good and url.geturl().lower() == text.lower() and not any(url[2:])
        good = good and "@" not in text and (":" in host or bool(HOST_NAME.fullmatch(host)))
    except ValueError:  # a port or an IPv6 address that is none
        good = False
    if not good:
        shown = "what it is" if "@" in text else text  # there may be a password before that
        raise home.HomeError(
            f"{name} must be an address such as https://portal.example.jp, without a path, and "
            f"with a name in other letters as browsers send it (xn--…), not {shown}."
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
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and (parts.netloc or not parts.path.strip("/")):
        raise home.HomeError(
            f"{name} names no file: write sqlite:// and then the absolute path, sqlite:////srv/x.db."
        )
    found = dict(_env.db_url_config(url))
    age = found.get("CONN_MAX_AGE", 0)
    if age is not None and (not isinstance(age, int | float) or age < 0):
        raise home.HomeError(f"{name}: CONN_MAX_AGE must be a number of seconds.")
    for option in SWITCHES:
        if not isinstance(found.get(option, False), bool):
            raise home.HomeError(f"{name}: {option} must be True or False.")
    return found


def broker(name: str, default: str) -> str:
    """Returns the URL of the message broker. The sentence repeats no password.

    By TLS the broker has to be the one of that name, unless the URL says otherwise.
    """
    url = home.url_from_environment(name, default)
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parts.query:
        return f"{url}{'&' if parts.query else '?'}ssl_cert_reqs=required"
    if parts.scheme not in {"memory", "redis", "rediss", "redis+socket", "sentinel"}:
        raise home.HomeError(
            f"{name} must begin with redis:// or be left out, for one process alone."
        )
    return url


def mail(name: str) -> dict[str, Any]:
    """Returns Django's settings of the mail server. The sentence repeats no password."""
    try:
        told = dict(_env.email_url_config(home.from_environment(name, "dummymail://")))
    except (ImproperlyConfigured, ValueError):
        raise home.HomeError(
            f"{name} cannot be read. Enter for example "
            "smtp+tls://user:password@mail.example.jp:587."
        ) from None
    if told["EMAIL_BACKEND"] == "django.core.mail.backends.smtp.EmailBackend":
        told["EMAIL_BACKEND"] = "xmailadmin.mail.EmailBackend"
    return told
