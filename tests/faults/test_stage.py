"""The stage on which faults are injected leaves no process behind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults import world
from tests.faults.world import Stage


def test_a_stage_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "ENDS_WITHIN_S", 0.1)
    (tmp_path / "home").mkdir()
    stage = Stage(tmp_path, tmp_path / "home")
    stage._process.send_signal(signal.SIGSTOP)
    stage.close()
    assert stage._process.returncode == -signal.SIGKILL
