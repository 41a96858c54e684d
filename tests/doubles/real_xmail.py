"""A real XMail, for whoever has one: `XMAIL_BINARY=/path/to/XMail` (no package ships it).

It is started with the same MailRoot and answers at the same names as its stand-in, so that the
two can be compared (tests/hosts/test_real_xmail.py) and the portal be measured against it (bench/).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.doubles.mailroot import PASSWORD, USER
from tests.doubles.xmail import ADDRESS, SERVICES
from tests.servers import stop, wait_until_ready

BINARY = os.environ.get("XMAIL_BINARY", "")
# The services and the options that bind them; submission is one more port of SMTP.
_OPTIONS = {
    "smtp": "-SI", "submission": "-SI", "smtps": "-XI", "pop3": "-PI", "pop3s": "-BI",
    "ctrl": "-CI", "ctrls": "-WI",
}  # fmt: skip
# In the foreground, and nothing that these tests have no use for.
_QUIET = ("-Md", "-F-", "-Y-", "-Qn", "1", "-Ln", "1")
# Without these it does not start, or does not answer all it is asked here.
_FOLDERS = ("dnscache/mx", "dnscache/ns", "domains", "logs", "spool", "tabindex", "tmp")
_TABLES = (
    "aliases.tab", "aliasdomain.tab", "extaliases.tab", "smtp.ipprop.tab", "smtpauth.tab",
    "smtprelay.tab", "spam-address.tab", "spammers.tab",
)  # fmt: skip


class RealXMail:
    """A running server; a context manager."""

    def __init__(self, mailroot: Path) -> None:
        self.mailroot = mailroot
        self.address = ADDRESS
        self.user = USER
        self.password = PASSWORD
        self.ports = _free_ports()

    def __enter__(self) -> Self:
        for folder in _FOLDERS:
            (self.mailroot / folder).mkdir(parents=True, exist_ok=True)
        for table in _TABLES:
            (self.mailroot / table).touch()
        bound = [
            word
            for service, option in _OPTIONS.items()
            for word in (option, f"{ADDRESS}:{self.ports[service]}")
        ]
        log = self.mailroot.with_name(f"{self.mailroot.name}.log")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [BINARY, *_QUIET, *bound],
                env={"MAIL_ROOT": str(self.mailroot)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0,  # as it has as a daemon
            )
        try:
            wait_until_ready(self._process, log, self._answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        stop(self._process, signal.SIGKILL)  # it takes seconds to end by itself

    def _answers(self) -> bool:
        try:
            for service in SERVICES:
                socket.create_connection((ADDRESS, self.ports[service]), timeout=1).close()
        except OSError:
            return False
        return True


def _free_ports() -> dict[str, int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in SERVICES]
        for listener in listeners:
            listener.bind((ADDRESS, 0))
        return {
            service: listener.getsockname()[1]
            for service, listener in zip(SERVICES, listeners, strict=True)
        }
