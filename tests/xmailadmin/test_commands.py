"""Commands do their work whether or not what they say can be printed."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from django.core.management import call_command

from tests.portal import CHECKOUT, Portal
from xmailadmin.commands import PortalCommand


class Work(PortalCommand):
    prepares = False

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        self.done = 0
        for number in (1, 2, 3):
            self.say(f"ホスト{number}: INSTALLED")
            self.stderr.write(f"Warning: ホスト{number}")
            self.done = number
        return {"installed": self.done}, False


class Nobody(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_what_the_locale_cannot_write_is_written_in_ascii() -> None:
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    err = io.TextIOWrapper(io.BytesIO(), "ascii")
    call_command(Work(), stdout=out, stderr=err)
    assert out.buffer.getvalue().count(b"\\u30db\\u30b9\\u30c83: INSTALLED") == 1
    assert err.buffer.getvalue().count(b"Warning") == 3


@pytest.mark.parametrize("lost", ["stdout", "stderr"])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_work_goes_on_where_nobody_reads(lost: str, as_json: bool) -> None:
    command = Work()
    outputs = {"stdout": io.StringIO(), "stderr": io.StringIO(), lost: Nobody()}
    with pytest.raises(SystemExit) as ended:
        call_command(command, json=as_json, **outputs)
    assert (command.done, ended.value.code) == (3, 1)
    other = outputs["stderr" if lost == "stdout" else "stdout"].getvalue()
    assert ("Warning: ホスト3" if lost == "stdout" else "3") in other


def test_a_full_disk_under_the_output_is_no_traceback(new_portal: Portal) -> None:
    new_portal.manage("prepare")
    command = [sys.executable, str(CHECKOUT / "manage.py"), "verify_audit"]
    for options in ([], ["--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*command, *options], env=new_portal.environment, stdout=full,
                stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (1, "")
