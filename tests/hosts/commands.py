"""The portal's commands as a person at a terminal types them, run in the test's own process."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from django.core.management import CommandError, call_command

from tests.doubles.real_xmail import RealXMail
from tests.doubles.xmail import XMail

PAIR = (
    "--country", "JP", "--state", "Tokyo", "--locality", "Shibuya-ku",
    "--organization", "Xmail Co., Ltd.", "--key-type", "ec",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    error: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def statuses(self) -> list[str]:
        return [row["status"] for row in self.json["installations"]]


def run(*words: str) -> Done:
    """Runs a command of the portal; whatever it says about failing is in `error`."""
    out, error = io.StringIO(), io.StringIO()
    status = 0
    with mock.patch.object(sys, "argv", ["manage.py", *words]):
        try:
            call_command(*words, stdout=out, stderr=error)
        except CommandError as refusal:
            status = 1
            error.write(str(refusal))
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Done(status, out.getvalue(), error.getvalue())


def run_json(*words: str) -> Done:
    return run(*words, "--json")


def made_pair(name: str = "mail.dojo.jp", *words: str) -> Done:
    return run_json("issue_pair", *PAIR, "--common-name", name, *words)


def ports(xmail: XMail | RealXMail | None) -> list[str]:
    """The options that tell where the services of this double are, or that there are none."""
    found = []
    for name in ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrls"):
        port = xmail.ports[name] if xmail is not None else 0
        found += [f"--{name}-port", str(port)]
    return found


def kept(path: Path, secret: str | bytes) -> str:
    """A file that holds a secret, for an option."""
    path.write_bytes(secret if isinstance(secret, bytes) else secret.encode())
    return str(path)
