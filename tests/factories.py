"""Rows for tests, as the portal itself would make them."""

from __future__ import annotations

from pathlib import Path

from certs.models import Pair
from certs.spec import PairSpec
from hosts.models import Host
from tests.doubles.mailroot import make_mailroot

ENDPOINTS_OFF = dict.fromkeys(
    [f"{name}_port" for name in ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrls")], 0
)


def pair_spec(**changes: str) -> PairSpec:
    """A specification that is quick to make a pair from."""
    values = {
        "country": "JP",
        "state": "Tokyo",
        "locality": "Shibuya-ku",
        "organization": "Xmail Co., Ltd.",
        "common_name": "mail.dojo.jp",
        "key_size": "ec-256",
        "days": "825",
    }
    return PairSpec.parse(values | changes)


def issued_pair(**changes: str) -> Pair:
    """A pair that is ready to be installed."""
    pair = Pair.objects.request(pair_spec(**changes), by=None)
    pair.make()
    pair.refresh_from_db()
    return pair


def local_host(directory: Path, name: str = "mail1", **changes: object) -> Host:
    """A registered host with a MailRoot of its own; its endpoints are off unless told."""
    mailroot = make_mailroot(directory / name)
    values = {**ENDPOINTS_OFF, **changes}
    return Host.objects.create(name=name, mailroot=str(mailroot), **values)


def on_disk(host: Host) -> tuple[bytes | None, bytes | None]:
    """The bytes of server.key and server.cert in the MailRoot of a local host."""
    paths = [Path(host.mailroot, name) for name in ("server.key", "server.cert")]
    key, certificate = (path.read_bytes() if path.exists() else None for path in paths)
    return key, certificate


def files(pair: Pair) -> tuple[bytes | None, bytes | None]:
    """The bytes that a host must hold when `pair` is installed there."""
    return pair.private_key(), pair.certificate_file()
