"""The pairs that are installed by CTRL here, and what a test does with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.install import Order, Outcome, PairFiles, install
from hosts.transports import Target, TransportError, open_transport
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.hosts.memory import Notebook

OLD, NEW = make_pair("old.test"), make_pair("new.test")
OLD_FILES = PairFiles(OLD.key, OLD.certificate)
NEW_FILES = PairFiles(NEW.key, NEW.certificate)


def held(mailroot: Path) -> PairFiles:
    def read(name: str) -> bytes | None:
        path = mailroot / name
        return path.read_bytes() if path.exists() else None

    return PairFiles(read("server.key"), read("server.cert"))


async def put_pair(
    target: Target,
    files: PairFiles = NEW_FILES,
    previous: PairFiles | None = None,
    switched: bool | None = None,
    was_in_clear: bool = False,
    notebook: Notebook | None = None,
) -> Outcome:
    switched = previous is not None if switched is None else switched
    order = Order(files, False, "tok", (), "127.0.0.1", previous, switched, was_in_clear)
    return await install(open_transport(target), order, notebook or Notebook())


async def refusal(target: Target) -> TransportError:
    with pytest.raises(TransportError) as caught:
        async with open_transport(target):
            pass
    return caught.value


def uploaded(xmail: XMail) -> list[str]:
    """What was written, but for the harmless file that tries whether there is room."""
    return [path for path, _ in xmail.seen.uploads if path != "server.scratch"]
