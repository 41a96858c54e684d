"""Stand-ins for XMail, a share of them in each of two processes beside the measured one.

With `XMAIL_BINARY` set it is real ones, each a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.elsewhere import elsewhere
from tests.doubles.mailroot import PASSWORD, USER
from tests.doubles.real_xmail import BINARY, RealXMail
from tests.doubles.xmail import XMail

PROCESSES = 2


@dataclass(frozen=True)
class Served:
    """Where a stand-in answers, and who may administer it."""

    ports: Mapping[str, int]
    user: str = USER
    password: str = PASSWORD


@contextmanager
def xmails(mailroots: Sequence[Path], services: Sequence[str]) -> Iterator[list[Served]]:
    """Serves the MailRoots while the block runs."""
    with ExitStack() as stack:
        answers: list[list[dict[str, int]]] = []
        for share in range(PROCESSES):
            request = {
                "mailroots": list(map(str, mailroots[share::PROCESSES])),
                "services": list(services),
            }
            answers.append(stack.enter_context(elsewhere("bench.xmails", request)))
        yield [
            Served(answers[number % PROCESSES][number // PROCESSES])
            for number in range(len(mailroots))
        ]


@contextmanager
def serve(request: dict[str, Any]) -> Iterator[list[dict[str, int]]]:
    """The helper: serves MailRoots and answers with their ports."""
    paths = map(Path, request["mailroots"])
    services = request["services"]
    with ExitStack() as stack:
        if BINARY:
            yield [stack.enter_context(RealXMail(path)).ports for path in paths]
        else:
            yield [stack.enter_context(XMail(path, services=services)).ports for path in paths]
