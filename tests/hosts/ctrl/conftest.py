"""One XMail with a pair, reached by CTRL."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.transports import Target
from tests.doubles.xmail import XMail
from tests.hosts.conftest import ctrl_target
from tests.hosts.ctrl.cases import OLD


@pytest.fixture
def target(xmail: XMail, mailroot: Path) -> Target:
    plain = Target("host", "ctrl", address="127.0.0.1", mailroot=str(mailroot))
    return ctrl_target(plain, xmail, OLD)


@pytest.fixture(autouse=True)
def _brisk(brisk_ctrl: None) -> None:
    pass
