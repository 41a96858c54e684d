"""Paths that would lead out of a MailRoot: whatever is tried, nothing outside is touched."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from hosts.transports import File, Target, Transport, TransportError, open_transport
from tests.doubles.mailroot import make_mailroot
from tests.factories import ENDPOINTS_OFF
from tests.fuzz.conftest import examples
from tests.hosts.conftest import Site
from tests.tally import Tally

parts = st.sampled_from(
    ["..", ".", "", "sslconf", "server.key", "link", "outside", "secret", "domains", "~", "*",
     "..\\", "\\..\\", "C:", "%2e%2e", "..%2f", "．．", "\0", "\n", "\r", "\t", "a" * 300, "日本",
     "\u2025", "..;", "$HOME", "/", "//"]
)  # fmt: skip
paths = st.builds(
    str.__add__,
    st.sampled_from(["", "/", "./", "../", "../../", "\\", "//", "sslconf/../", "link/", "~/"]),
    st.lists(parts, min_size=1, max_size=6).map("/".join),
)


def snapshot(place: Path, *, without: Path) -> dict[str, str]:
    """What lies in `place`, whom it belongs to and what is in it."""
    found = {}
    for folder, folders, files in os.walk(place):
        folders[:] = [name for name in folders if Path(folder, name) != without]
        for name in (*folders, *files):
            path = Path(folder, name)
            state = path.lstat()
            content = b"" if not path.is_file() or path.is_symlink() else path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            found[str(path)] = f"{state.st_mode:o} {state.st_mtime_ns} {state.st_ino} {digest}"
    return found


@pytest.fixture
def outer(tmp_path: Path) -> Path:
    """A MailRoot with links that lead out of it, and things beside it that are worth keeping."""
    outer = tmp_path / "outer"
    root = make_mailroot(outer / "MailRoot")
    (outer / "outside").mkdir()
    for name in ("secret", "server.key", "server.cert"):
        (outer / name).write_text("precious\n")
        (outer / "outside" / name).write_text("precious\n")
    (root / "link").symlink_to(outer / "outside")
    (root / "secret").symlink_to(outer / "secret")
    (root / "dangling").symlink_to(outer / "new")
    return outer


async def try_everything(transport: Transport, path: str) -> None:
    with suppress(TransportError):
        content = await transport.read(path)
        assert content is None or b"precious" not in content, path
    operations = (
        lambda: transport.info(path),
        lambda: transport.list(path, "*"),
        lambda: transport.replace_all([File(path, b"overwritten\n", private=True)], "token"),
        lambda: transport.set_mode(path, 0o600),
        lambda: transport.remove([path]),
    )
    for operation in operations:
        with suppress(TransportError):
            await operation()


@examples(1000)
@given(paths)
def test_nothing_outside_a_local_mailroot(outer: Path, tally: Tally, path: str) -> None:
    root = outer / "MailRoot"
    before = snapshot(outer, without=root)

    async def attack() -> None:
        async with open_transport(Target("host", "local", mailroot=str(root))) as transport:
            await try_everything(transport, path)

    asyncio.run(attack())
    assert snapshot(outer, without=root) == before
    tally.add("paths")


@pytest.mark.parametrize("site", ["sftp", "ctrl"], indirect=True)
async def test_nothing_outside_a_remote_mailroot(site: Site) -> None:
    outside = site.root.parent / "outside"
    outside.mkdir()
    (outside / "server.key").write_text("precious\n")
    (site.root / "link").symlink_to(outside)
    before = snapshot(site.root.parent, without=site.root)
    async with site.transport() as transport:
        for path in (
            "../outside/server.key",
            "..\\outside\\server.key",
            f"{outside}/server.key",
            "sslconf/../../outside/server.key",
            "/etc/passwd",
            "",
        ):
            await try_everything(transport, path)  # fmt: skip
    assert snapshot(site.root.parent, without=site.root) == before


@pytest.mark.django_db
@examples(500)
@given(paths)
def test_no_mailroot_outside_its_base_is_registered(
    outer: Path, operator: Client, settings: Settings, path: str
) -> None:
    """Outside lies a MailRoot that is one in every respect but that nobody may use it."""
    base = outer / "base"
    if not base.exists():
        make_mailroot(base / "MailRoot")
        make_mailroot(outer / "forbidden")
        (base / "link").symlink_to(outer / "forbidden")
    settings.MAILROOT_BASES = [base]
    for mailroot in (f"{base}/{path}", f"{base}/MailRoot/../../{path}", f"{base}/link/{path}",
                     f"{base}/link", f"{outer}/forbidden", path):  # fmt: skip
        form = {
            "name": "host", "transport": "local", "os": "unix", "address": "127.0.0.1",
            "mailroot": mailroot, **ENDPOINTS_OFF,
        }  # fmt: skip
        answer = operator.post(reverse("host_add"), form)
        if answer.status_code == 302:
            assert Path(mailroot).resolve().is_relative_to(base.resolve()), mailroot
        else:
            assert answer.status_code == 200
