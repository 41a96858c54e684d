"""Disks that are full, read-only or refuse, and files that are not what was written."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.mailroot import make_mailroot
from tests.doubles.xmail import XMail
from tests.faults.conftest import Tally, hosts_a_run
from tests.faults.injection import DAMAGES, REFUSALS
from tests.faults.world import Site, World, as_files, foreign_pair, host_values, make_world
from tests.servers import SSHServer

PAGE = 4096


@contextlib.contextmanager
def small_disk(directory: Path, options: str) -> Iterator[Path]:
    """A file system of its own, which only root can mount."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(directory)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path, pages_left: int) -> Path:
    """A file that leaves so many pages of the disk."""
    ballast = directory / "ballast"
    status = os.statvfs(directory)
    # Whoever else writes there at this moment takes some of it.
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        file.write(b"x" * (status.f_bavail - pages_left) * PAGE)
    return ballast


@pytest.mark.slow
@pytest.mark.parametrize("world", ["local", "sftp"], indirect=True)
@pytest.mark.parametrize("cause", ["blocks", "inodes", "read-only"])
def test_disk_that_takes_no_more(
    world: World, cause: str, tmp_path: Path, everything: bool, tally: Tally,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    ssh: SSHServer | None = None
    if world.transport == "sftp":
        ssh = request.getfixturevalue("ssh_server")
    first = as_files(world.pairs[0])
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", "size=256k,nr_inodes=40"))
        root = make_mailroot(disk / "MailRoot", key=first[0], certificate=first[1])
        xmail = stack.enter_context(XMail(root, services=("pop3s",)))
        (id_,) = world.stage.do("enrol", hosts=[host_values(world.transport, "small", xmail, ssh)])
        world.sites = [Site(id_, root, xmail, world.transport)]
        left = {"blocks": range(4), "inodes": range(4), "read-only": range(1)}[cause]
        for number in left if everything else [1]:
            with tally.run("disk full or read-only at each write", f"{cause}, {number} left"):
                before = {id_: world.sites[0].holds}
                ballast: list[Path] = []
                if cause == "blocks":
                    ballast = [fill(disk, number)]
                elif cause == "inodes":
                    for name in range(os.statvfs(disk).f_favail - number):
                        ballast.append(disk / f"i{name}")
                        ballast[-1].touch()
                else:
                    remount(disk, "ro")
                deployment = world.order()
                world.stage.do("work")
                (row,) = world.stage.do("state", deployment=deployment)
                if cause == "read-only":
                    remount(disk, "rw")
                for path in ballast:
                    path.unlink()
                world.check(deployment, before)
                if row["status"] != "INSTALLED":
                    named = "read_only" if cause == "read-only" else "disk_full"
                    assert row["code"] == f"transport.{named}"
                again = world.order()
                world.stage.do("work")
                (row,) = world.stage.do("state", deployment=again)
                assert row["status"] == "INSTALLED"
                assert world.sites[0].leftovers == []


@pytest.mark.slow
def test_disk_of_the_portal_itself(
    tmp_path: Path, home: Path, everything: bool, tally: Tally
) -> None:
    """Its database cannot be written in the midst of a deployment, until there is room again."""
    with (
        small_disk(tmp_path / "disk", "size=32m") as disk,
        make_world(disk / "world", "local", hosts_a_run(everything), home) as world,
    ):
        for number in range(10 if everything else 1):
            with tally.run("disk of the portal itself full", f"run {number}") as run:
                before = {site.id: site.holds for site in world.sites}
                deployment = world.order()
                worker = world.stage.begin("work")
                worker.ended(0.1 * number)
                ballast = fill(disk, number % 4)
                worker.ended(4)
                ballast.unlink()
                freed = time.monotonic()
                with contextlib.suppress(AssertionError):  # an error that is logged ends it
                    worker.result()
                world.stage.do("work")
                tally.recovered(run, time.monotonic() - freed)
                world.check(deployment, before)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("world", ["local", "sftp"], indirect=True)
def test_refused_in_the_midst_of_the_switch(world: World, everything: bool, tally: Tally) -> None:
    """The key is the new one, and the certificate is refused: once, or every time."""
    world.sites = world.sites[:1]
    for cause in REFUSALS if everything else ["EACCES"]:
        for times in (1, 2, 10**9) if everything else [10**9]:
            with tally.run("permission, quota or disk lost midway", f"{cause} × {times}"):
                before = {site.id: site.holds for site in world.sites}
                deployment = world.order()
                trap = {"point": "amid switch", "number": times, "do": cause}
                world.stage.begin("work", trap=trap).result()
                (row,) = world.stage.do("state", deployment=deployment)
                world.check(deployment, before)
                if row["status"] != "INSTALLED":
                    assert REFUSALS[cause] in {row["code"], *row["notes"]}


@pytest.mark.slow
@pytest.mark.parametrize("world", ["ctrl"], indirect=True)
def test_xmail_that_cannot_write(world: World, everything: bool, tally: Tally) -> None:
    """XMail answers OK though the disk is full, and deletes the file; before or in the switch."""
    world.sites = world.sites[:1]
    faults = world.sites[0].xmail.faults
    for how in ("full_disk", "read_only"):
        for when in ("before", "server.scratch", "server.key"):
            with tally.run("disk full or read-only at each write, ctrl", f"{how}, {when}"):
                before = {site.id: site.holds for site in world.sites}

                struck: list[str] = []

                def strike(
                    name: str, data: bytes, how: str = how, when: str = when,
                    struck: list[str] = struck,
                ) -> bytes:  # fmt: skip
                    """Full from here on, till some seconds later there is room again."""
                    if name == when and not struck:
                        struck.append(name)
                        setattr(faults, how, True)
                        threading.Timer(2, setattr, (faults, how, False)).start()
                    return data

                faults.mangle = strike
                if when == "before":
                    setattr(faults, how, True)
                deployment = world.order()
                worker = world.stage.begin("work", strict=True)
                worker.ended(2)
                setattr(faults, how, False)
                worker.result()
                faults.mangle = None
                world.check(deployment, before)
                (row,) = world.stage.do("state", deployment=deployment)
                if row["status"] != "INSTALLED":
                    codes = {row["code"], *row["notes"]}
                    assert codes & {"transport.disk_full", "ctrl.not_created"}, codes
                if not everything:
                    break


@pytest.mark.slow
def test_what_was_written_is_not_there(world: World, everything: bool, tally: Tally) -> None:
    """Caught by reading back, and the pair from before is put back."""
    world.sites = world.sites[:2]
    for how in DAMAGES if everything else ["truncated"]:
        if how == "crlf" and world.transport == "ctrl":
            continue  # CTRL hands lines over: XMail reads either kind
        with tally.run("short write, CRLF change, truncation", f"{how}, {world.transport}") as run:
            before = {site.id: site.holds for site in world.sites}
            deployment = world.order()
            trap = {"point": "before read back", "number": 2, "do": how}
            began = time.monotonic()
            world.stage.begin("work", trap=trap).result()
            run.worst_s = max(run.worst_s, time.monotonic() - began)
            rows = world.stage.do("state", deployment=deployment)
            assert {row["code"] for row in rows} == {"install.read_back_restored"}
            world.check(deployment, before)


@pytest.mark.slow
@pytest.mark.parametrize("world", ["local"], indirect=True)
def test_pair_edited_by_hand(world: World, everything: bool, tally: Tally) -> None:
    """It is reported, and nobody overwrites it unasked."""
    for number, site in enumerate(world.sites[: 10 if everything else 1]):
        with tally.run("pair edited by hand", f"host {number}"):
            by_hand = foreign_pair()
            site.hold(by_hand)
            codes = world.stage.do("diagnose", host=site.id)
            world.stage.do("work")
            assert any("recorded" in code or "drift" in code for code in codes), codes
            assert site.holds == by_hand
