"""Whatever the umask, nobody else can ever read what lies in the data directory or in a backup."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.portal import CHECKOUT, Portal
from tests.servers import running
from tests.tally import Tally

EVERY_S = 0.001
PAIR = (
    "issue_pair", "--country", "JP", "--state", "Tokyo", "--locality", "Shibuya-ku",
    "--organization", "Xmail", "--common-name", "mail.dojo.jp", "--key-type", "ec",
)  # fmt: skip


@contextmanager
def watched(*places: Path) -> Iterator[tuple[set[tuple[str, str]], list[int]]]:
    """Looks at every file below the places every millisecond; yields what others could read."""
    sightings: set[tuple[str, str]] = set()
    looks = [0]
    done = threading.Event()

    def look(folder: Path) -> None:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except FileNotFoundError:
                continue
            if mode & 0o077:
                sightings.add((entry.path, f"{stat.S_IMODE(mode):o}"))
            if stat.S_ISDIR(mode):
                look(Path(entry.path))

    def watch() -> None:
        while not done.wait(EVERY_S):
            looks[0] += 1
            for place in places:
                look(place)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sightings, looks
    finally:
        done.set()
        thread.join()


@pytest.mark.slow
def test_nothing_is_ever_readable_by_others(tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "passphrase").write_text("correct horse battery staple")
    backups = tmp_path / "backups"
    backups.mkdir()
    portal, again = Portal(tmp_path / "a" / "portal"), Portal(tmp_path / "b" / "portal")
    for each in (portal, again):
        each.home.mkdir(parents=True, mode=0o755)  # as a package or a person might have made it
    with_passphrase = ("--passphrase-file", str(tmp_path / "passphrase"))
    url = portal.url.replace("http://", "https://")
    previous = os.umask(0)
    try:
        with watched(portal.home, again.home, backups) as (sightings, looks):
            portal.manage(*PAIR)
            portal.manage("rotate_master_key")
            portal.manage("backup", str(backups / "one"), *with_passphrase)
            again.manage("restore", str(backups / "one"), *with_passphrase)
            with running(
                [sys.executable, str(CHECKOUT / "manage.py"), "up", "--tls"],
                portal.log, lambda: (portal.home / "tls.cert").exists(), number=signal.SIGINT,
                environment=portal.environment | {"XMAILADMIN_URL": url},
            ):  # fmt: skip
                portal.manage(*PAIR)
    finally:
        os.umask(previous)
    assert looks[0] > 500
    assert sightings == set()
    names = {path.name for path in portal.home.iterdir()}
    assert names >= {"master.key", "secret.key", "xmailadmin.sqlite3", "tls.key", "audit.head"}
    for _ in range(looks[0]):
        tally.add("looks")


def test_a_file_that_others_can_read_is_seen(tmp_path: Path) -> None:
    """The negative control."""
    with watched(tmp_path) as (sightings, _looks):
        path = tmp_path / "open"
        path.touch()
        path.chmod(0o644)
        while not sightings:
            pass
    assert sightings == {(str(path), "644")}
