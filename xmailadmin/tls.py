"""HTTPS with a pair of the portal's own making, and who may be served without HTTPS.

The pair is self-signed, lies in the data directory and is made anew before it runs out or when
the portal is to answer by other names. Whoever puts a pair from elsewhere into its place keeps it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from certs import pair
from certs.issue import issue
from certs.spec import MAX_COMMON_NAME, PairSpec, SpecError
from xmailadmin import home

__all__ = ["OwnPair", "check_exposure", "own_pair", "split_bind"]

KEY_FILE, CERTIFICATE_FILE = "tls.key", "tls.cert"
DAYS = 397
RENEWAL = timedelta(days=30)
#: The department in a certificate of our own, by which it is told from one that somebody brought.
OURS = "Made by xmailadmin for its own pages"


@dataclass(frozen=True)
class OwnPair:
    """Where the pair lies, and what people compare when their browser asks about it."""

    key: Path
    certificate: Path
    sha256: str
    not_after: datetime

    @property
    def fingerprint(self) -> str:
        """The SHA-256 as browsers show it."""
        digits = self.sha256.upper()
        return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def split_bind(bind: str) -> tuple[str, int]:
    """Returns address and port. Raises HomeError if `bind` is not of the form ADDRESS:PORT."""
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdigit() or not port.isascii() or int(port) > 65535:
        raise home.HomeError(f"XMAILADMIN_BIND={bind} is not of the form ADDRESS:PORT.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_exposure(bind: str) -> None:
    """Raises HomeError if others would be served and nothing keeps what they send from listeners.

    An https:// address means that a proxy ends TLS, if the portal does not do so itself.
    """
    host, _port = split_bind(bind)
    if settings.HTTPS or settings.ALLOW_HTTP or _is_loopback(host):
        return
    raise home.HomeError(
        f"XMAILADMIN_BIND={bind} would serve others without TLS, and whoever listens in the "
        "network would read passwords and keys. Start it with --tls, or let a proxy end TLS and "
        "set XMAILADMIN_URL to its https:// address, or, where nobody can listen, set "
        "XMAILADMIN_ALLOW_HTTP=1."
    )


def own_pair(now: datetime) -> OwnPair:
    """Returns the pair to serve the portal's pages with, made when it is missing or too old.

    Raises HomeError if no pair can be made, or if one that somebody brought cannot be used.
    """
    place = home.directory()
    key, certificate = place / KEY_FILE, place / CERTIFICATE_FILE
    state = pair.check(_content(key), _content(certificate))
    # A key alone, or beside what cannot be read, may be one that somebody is about to bring.
    ours = not (key.exists() or certificate.exists()) or (
        OURS in _subject(certificate) and _is_our_key(key, certificate)
    )
    if ours and not _lasts(state, certificate, now):
        issued = issue(_spec(_names()), now)
        # The certificate first: should that be all, it says that what is there is ours.
        home.replace_secret(certificate, issued.certificate_pem.decode().strip())
        home.replace_secret(key, f"{OURS}\n{issued.key_pem.decode().strip()}")
        state = pair.check(issued.key_pem, issued.certificate_pem)
    if not state.usable or state.not_after is None:
        raise home.HomeError(
            f"{key} and {certificate} are no pair that can be served ({state.code}). Put one "
            "there that is, or delete both to have one made."
        )
    return OwnPair(key, certificate, state.sha256, state.not_after)


def _lasts(state: pair.PairState, certificate: Path, now: datetime) -> bool:
    if not state.usable or state.not_after is None or state.not_after - now < RENEWAL:
        return False
    return set(pair.facts(certificate.read_bytes()).names) == set(_spec(_names()).names)


def _names() -> list[str]:
    """Returns every name and address that the portal answers by, the public one first."""
    host, _port = split_bind(settings.BIND)
    found = [settings.PORTAL_HOST, *settings.ALLOWED_HOSTS, host]
    bare = (name.removeprefix("[").removesuffix("]") for name in found)
    # What stands for any name or address is none that a certificate could bear.
    return [
        name for name in dict.fromkeys(bare) if not name.startswith((".", "*")) and _is_one(name)
    ]


def _is_one(name: str) -> bool:
    try:
        return not ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return bool(name)


def _spec(names: Iterable[str]) -> PairSpec:
    first = next((name for name in names if len(name) <= MAX_COMMON_NAME), "localhost")
    try:
        return PairSpec.parse(
            {
                "country": "ZZ",  # ISO 3166: nobody's
                "state": "-",
                "locality": "-",
                "organization": "xmailadmin",
                "organizational_unit": OURS,
                "common_name": first,
                "aliases": list(names),
                "key_size": "ec-256",
                "days": DAYS,
            }
        )
    except SpecError as error:
        raise home.HomeError(
            f"no certificate can be made for the names {', '.join(names)} ({error}). "
            "Mend XMAILADMIN_URL or XMAILADMIN_ALLOWED_HOSTS."
        ) from None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise home.HomeError(f"{path} cannot be read: {error.strerror}.") from None


def _subject(certificate: Path) -> str:
    try:
        return pair.facts(_content(certificate) or b"").subject
    except ValueError:
        return ""


def _is_our_key(key: Path, certificate: Path) -> bool:
    """Whether a key beside a certificate of ours was made with that one or another one of ours."""
    content = _content(key)
    if not content or content.startswith(OURS.encode()):
        return True
    if content.isascii() and b"PRIVATE KEY" not in content:  # none at all
        return True
    return pair.matches(content, _content(certificate) or b"")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
