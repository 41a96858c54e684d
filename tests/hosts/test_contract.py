"""What every transport promises; a new one is one more parameter of the fixture `site`."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hosts.install import Journal, Order, Outcome, PairFiles, install
from hosts.probe import Endpoint
from hosts.transports import REGISTRY, File, FileInfo, Target, TransportError, open_transport
from hosts.transports.base import check_path
from tests.doubles.pairs import Pair, make_pair
from tests.hosts.conftest import TRANSPORTS, Site
from tests.hosts.memory import Killed, Notebook, order

NEW = make_pair("second.test")

#: For what XMail does in its own way when it writes the files itself.
writes_itself = pytest.mark.parametrize("site", ["local", "sftp"], indirect=True)


def pair_files(pair: Pair, folder: str = "") -> list[File]:
    return [
        File(folder + "server.key", pair.key, private=True),
        File(folder + "server.cert", pair.certificate),
    ]


def test_every_transport_is_tested() -> None:
    assert set(REGISTRY) == set(TRANSPORTS)


async def test_reads_files_and_knows_what_is_missing(site: Site) -> None:
    async with site.transport() as transport:
        assert await transport.read("server.cert") == site.pair.certificate
        assert await transport.read("server.key") == site.pair.key
        assert b"RootDomain" in (await transport.read("server.tab") or b"")
        assert await transport.read("certs.pem") is None
        assert await transport.read("certs/none.pem") is None


async def test_tells_size_mode_and_owner_where_it_can(site: Site) -> None:
    async with site.transport() as transport:
        info = await transport.info("server.key")
        assert info is not None
        assert info.size == len(site.pair.key)
        if transport.sets_mode:
            assert (info.mode, info.uid, info.gid) == (0o600, os.getuid(), os.getgid())
        else:
            assert (info.mode, info.uid) == (None, None)
        assert await transport.info("nothing.here") is None
        assert await transport.info("certs/nothing") is None


async def test_lists_files_by_pattern(site: Site) -> None:
    (site.root / "certs").mkdir()
    (site.root / "certs" / "1a2b3c4d.0").write_bytes(b"x")
    async with site.transport() as transport:
        found = await transport.list(".", "server.*")
        assert sorted(info.name for info in found) == ["server.cert", "server.key", "server.tab"]
        assert [info.name for info in await transport.list("certs", "*.0")] == ["1a2b3c4d.0"]
        assert await transport.list("nowhere", "*") == []
        assert all(isinstance(info, FileInfo) for info in found)


async def test_replaces_both_files_and_leaves_nothing_behind(site: Site) -> None:
    asked = []

    async def ready() -> None:
        asked.append(site.lies_there("server.key"))

    async with site.transport() as transport:
        await transport.replace_all(pair_files(NEW), "tok", ready=ready)
        assert await transport.read("server.key") == NEW.key
        assert await transport.read("server.cert") == NEW.certificate
    assert asked == [site.pair.key]
    assert site.lies_there("server.key") == NEW.key
    assert site.lies_there("server.cert") == NEW.certificate
    assert site.staged() == []
    if site.name != "ctrl":
        assert (site.mode("server.key"), site.mode("server.cert")) == (0o600, 0o644)
        assert site.mode("sslconf") == 0o700


async def test_nothing_is_replaced_if_the_caller_says_no(site: Site) -> None:
    async def ready() -> None:
        raise Killed

    async with site.transport() as transport:
        with pytest.raises(Killed):
            await transport.replace_all(pair_files(NEW), "tok", ready=ready)
    assert site.lies_there("server.key") == site.pair.key
    assert site.lies_there("server.cert") == site.pair.certificate


@writes_itself
async def test_creates_what_was_not_there(site: Site) -> None:
    (site.root / "server.key").unlink()
    async with site.transport() as transport:
        await transport.replace_all(pair_files(NEW), "tok")
    assert site.mode("server.key") == 0o600


async def test_removes_files_also_those_that_are_missing(site: Site) -> None:
    async with site.transport() as transport:
        await transport.remove(["server.key", "no.such", "server.cert"])
        assert await transport.read("server.cert") is None
    assert site.lies_there("server.key") is None


@writes_itself
async def test_leftovers_of_another_run_are_deleted_and_fence_it_off(site: Site) -> None:
    zombie, successor = site.transport(), site.transport()

    async def taken_over() -> None:
        async with successor:
            await successor.replace_all(pair_files(NEW), "second")

    async with zombie:
        with pytest.raises(TransportError) as caught:
            await zombie.replace_all(pair_files(make_pair()), "first", ready=taken_over)
    assert caught.value.message.code == "transport.superseded"
    assert site.lies_there("server.key") == NEW.key
    assert site.lies_there("server.cert") == NEW.certificate
    assert site.staged() == []


@writes_itself
async def test_what_cannot_be_deleted_there_is_named(site: Site) -> None:
    strange = site.root / "sslconf" / ".server.key.tok.new"
    strange.mkdir(parents=True)
    async with site.transport() as transport:
        with pytest.raises(TransportError) as caught:
            await transport.replace_all(pair_files(NEW), "other")
    assert caught.value.message.params["path"] == "sslconf/.server.key.tok.new"
    assert strange.is_dir()
    assert site.lies_there("server.key") == site.pair.key


async def test_mends_the_mode_of_a_key(site: Site) -> None:
    (site.root / "server.key").chmod(0o666)
    async with site.transport() as transport:
        if transport.sets_mode:
            await transport.set_mode("server.key", 0o600)
            assert site.mode("server.key") == 0o600
        else:
            with pytest.raises(TransportError):
                await transport.set_mode("server.key", 0o600)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to others")
@writes_itself
async def test_files_keep_owner_and_group(site: Site) -> None:
    os.chown(site.root, 1234, 1235)
    os.chown(site.root / "server.key", 2001, 2002)
    (site.root / "server.cert").unlink()
    async with site.transport() as transport:
        await transport.replace_all(pair_files(NEW), "tok")
    owners = {
        name: ((site.root / name).stat().st_uid, (site.root / name).stat().st_gid)
        for name in ("server.key", "server.cert", "sslconf")
    }
    assert owners == {
        "server.key": (2001, 2002),
        "server.cert": (1234, 1235),
        "sslconf": (1234, 1235),
    }


@writes_itself
async def test_a_link_is_replaced_and_what_it_led_to_is_kept(site: Site) -> None:
    elsewhere = site.root.parent / "elsewhere.key"
    elsewhere.write_bytes(b"precious\n")
    (site.root / "server.key").unlink()
    (site.root / "server.key").symlink_to(elsewhere)
    async with site.transport() as transport:
        await transport.replace_all(pair_files(NEW), "tok")
    assert not (site.root / "server.key").is_symlink()
    assert elsewhere.read_bytes() == b"precious\n"


@writes_itself
async def test_a_linked_sslconf_is_refused(site: Site) -> None:
    elsewhere = site.root.parent / "elsewhere"
    elsewhere.mkdir()
    (site.root / "sslconf").symlink_to(elsewhere)
    async with site.transport() as transport:
        with pytest.raises(TransportError) as caught:
            await transport.replace_all(pair_files(NEW), "tok")
    assert caught.value.message.code == "transport.not_a_directory"
    assert list(elsewhere.iterdir()) == []
    assert site.lies_there("server.key") == site.pair.key


@writes_itself
async def test_nothing_is_installed_where_server_tab_is_gone(site: Site) -> None:
    (site.root / "server.tab").unlink()
    outcome = await install(site.transport(), order(endpoints=()), Notebook())
    assert (outcome.status, outcome.message.code) == ("FAILED", "install.no_mailroot")
    assert outcome.permanent
    assert site.lies_there("server.key") == site.pair.key
    assert not (site.root / "sslconf").exists()


@writes_itself
async def test_missing_mailroot_is_said(site: Site) -> None:
    target = Target(**{**vars(site.target), "mailroot": str(site.root / "nowhere")})
    with pytest.raises(TransportError) as caught:
        async with open_transport(target) as transport:
            await transport.read("server.tab")
    assert caught.value.message.code == "transport.mailroot_missing"
    assert caught.value.permanent


async def test_can_be_entered_again_and_closed_twice(site: Site) -> None:
    transport = site.transport()
    for _ in range(2):
        async with transport:
            assert transport.confidential
            assert await transport.read("server.cert") == site.pair.certificate
        await transport.close()
        assert not transport.confidential or site.name == "local"


async def test_knows_whom_it_met(site: Site) -> None:
    async with site.transport() as transport:
        met = transport.identity
    scanned = await site.transport().scan()
    assert met == scanned
    assert bool(met) == (site.name != "local")


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    path=st.lists(
        st.sampled_from(["a", "/", ".", "..", "\\", "\x00", "\n", "~", "server.key"]), max_size=9
    ).map("".join)
)
def test_paths_that_could_lead_elsewhere_are_refused(path: str) -> None:
    try:
        checked = check_path(path)
    except TransportError:
        return
    resolved = os.path.normpath(os.path.join("/MailRoot", checked))
    assert resolved.startswith("/MailRoot/")
    assert "\\" not in checked


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b", "a//b", "", ".", "a\nb"])
async def test_no_operation_leaves_mailroot(site: Site, path: str) -> None:
    async with site.transport() as transport:
        operations: list[Callable[[], object]] = [
            lambda: transport.read(path),
            lambda: transport.info(path),
            lambda: transport.remove([path]),
            lambda: transport.replace_all([File(path, b"x\n")], "tok"),
        ]
        for operation in operations:
            with pytest.raises(TransportError):
                await operation()  # type: ignore[misc]


@pytest.mark.usefixtures("open_umask")
@writes_itself
async def test_no_key_is_ever_readable_by_others(site: Site) -> None:
    """SECURITY: watch every file below MailRoot while pairs are installed under umask 000."""
    (site.root / "server.key").unlink()
    sightings: list[tuple[str, int]] = []
    looks = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal looks
        while not done.is_set():
            looks += 1
            for folder in (site.root, site.root / "sslconf"):
                sightings.extend(_readable_keys(folder))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        async with site.transport() as transport:
            for number in range(30):
                await transport.replace_all(pair_files(NEW), f"t{number}")
                await transport.remove(["server.key"])
    finally:
        done.set()
        watcher.join()
    assert looks > 100
    assert sightings == []


def _readable_keys(folder: Path) -> list[tuple[str, int]]:
    found = []
    try:
        for entry in os.scandir(folder):
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except FileNotFoundError:
                continue
            if "key" in entry.name and stat.S_ISREG(mode) and mode & 0o077:
                found.append((entry.name, mode & 0o777))
    except FileNotFoundError:
        pass
    return found


# The whole algorithm over each transport.


async def run(site: Site, files: PairFiles, journal: Journal, **more: object) -> Outcome:
    endpoints = []
    if site.xmail is not None:
        endpoints = [Endpoint(name, site.xmail.ports[name]) for name in ("smtp", "pop3s", "ctrls")]
    order = Order(files, False, "tok", endpoints, "127.0.0.1", **more)  # type: ignore[arg-type]
    return await install(open_transport(site.target), order, journal)


async def test_installs_over_every_transport(site: Site) -> None:
    notebook = Notebook()
    outcome = await run(site, PairFiles(NEW.key, NEW.certificate), notebook)
    assert outcome.status == "INSTALLED", outcome
    assert notebook.adopted == PairFiles(site.pair.key, site.pair.certificate)
    assert (site.lies_there("server.key"), site.lies_there("server.cert")) == (
        NEW.key,
        NEW.certificate,
    )
    assert all(result.sha256 == NEW.sha256 for result in outcome.endpoints)
    assert site.staged() == []


async def test_second_time_is_unchanged_over_every_transport(site: Site) -> None:
    outcome = await run(site, PairFiles(site.pair.key, site.pair.certificate), Notebook())
    assert outcome.status == "UNCHANGED", outcome


async def test_takes_over_after_a_kill_over_every_transport(site: Site) -> None:
    for number in range(7):
        wanted = make_pair(f"take-over-{number}.test")
        before = PairFiles(site.lies_there("server.key"), site.lies_there("server.cert"))
        notebook = Notebook(killed_at=number)
        with pytest.raises(Killed):
            await run(site, PairFiles(wanted.key, wanted.certificate), notebook)
        again = await run(
            site,
            PairFiles(wanted.key, wanted.certificate),
            Notebook(),
            previous=notebook.adopted,
        )
        assert again.status in {"INSTALLED", "UNCHANGED"}, (number, again)
        assert site.lies_there("server.key") == wanted.key
        assert site.lies_there("server.cert") == wanted.certificate
        assert site.staged() == []
        assert notebook.adopted in {None, before}
        site.target = Target(
            **{**vars(site.target), "trust_fingerprint": wanted.sha256}
            if site.name == "ctrl"
            else vars(site.target)
        )


async def test_removes_over_every_transport(site: Site) -> None:
    outcome = await run(site, PairFiles(None, None), Notebook())
    assert outcome.status == "REMOVED", outcome
    assert site.lies_there("server.key") is None
    assert site.lies_there("server.cert") is None
