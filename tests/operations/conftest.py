"""The portal in one process and in parts: whatever it does, it does alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grown import Grown, grown
from tests.portal import Portal


@pytest.fixture(params=["embedded", "grown"])
def running_portal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Portal]:
    """A running portal, once as `manage.py up`, once with two workers on PostgreSQL and Redis."""
    if request.param == "embedded":
        portal = Portal(tmp_path / "portal")
        with portal.up():
            yield portal
    else:
        with grown(tmp_path / "grown") as parts:
            parts.start()
            yield parts


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Grown]:
    """PostgreSQL and Redis for a grown portal, whose own parts the test starts."""
    with grown(tmp_path / "grown") as portal:
        yield portal
