"""One XMail with a pair, reached by CTRL."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from hosts import addresses, proof
from hosts.transports import CtrlTransport, Target
from tests.doubles.mailroot import make_mailroot
from tests.doubles.xmail import XMail
from tests.hosts.conftest import ctrl_target
from tests.hosts.ctrl.cases import OLD


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    return make_mailroot(tmp_path / "MailRoot", key=OLD.key, certificate=OLD.certificate)


@pytest.fixture
def xmail(mailroot: Path) -> Iterator[XMail]:
    with XMail(mailroot) as xmail:
        yield xmail


@pytest.fixture
def target(xmail: XMail, mailroot: Path) -> Target:
    plain = Target("host", "ctrl", address="127.0.0.1", mailroot=str(mailroot))
    return ctrl_target(plain, xmail, OLD)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the double were not on this machine: no key in clear."""
    monkeypatch.setattr(addresses, "is_loopback", lambda ip: not ip_address(ip).is_loopback)


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CtrlTransport, "timeout_s", 2.0)
    monkeypatch.setattr(proof, "RETRY_AFTER_S", (0.01, 0.02))
