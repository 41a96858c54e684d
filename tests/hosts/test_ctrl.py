"""CTRL, its traps, and what is left on the host after each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts import addresses, ctrl, proof
from hosts.install import Order, Outcome, PairFiles, install
from hosts.messages import Message
from hosts.probe import Endpoint
from hosts.transports import CtrlTransport, File, Target, TransportError, open_transport
from hosts.transports import ctrl as ctrl_transport
from hosts.transports.base import ChannelUnusable
from tests.doubles.mailroot import make_mailroot, write_pair, write_settings
from tests.doubles.pairs import make_pair
from tests.doubles.wire import Faults
from tests.doubles.xmail import XMail
from tests.hosts.conftest import ctrl_target
from tests.hosts.memory import Notebook

OLD, NEW = make_pair("old.test"), make_pair("new.test")
OLD_FILES = PairFiles(OLD.key, OLD.certificate)
NEW_FILES = PairFiles(NEW.key, NEW.certificate)


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    return make_mailroot(tmp_path / "MailRoot", key=OLD.key, certificate=OLD.certificate)


@pytest.fixture
def xmail(mailroot: Path) -> Iterator[XMail]:
    with XMail(mailroot) as xmail:
        yield xmail


@pytest.fixture
def target(xmail: XMail, mailroot: Path) -> Target:
    plain = Target("host", "ctrl", address="127.0.0.1", mailroot=str(mailroot))
    return ctrl_target(plain, xmail, OLD)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the double were not on this machine: no key in clear."""
    monkeypatch.setattr(addresses, "is_loopback", lambda ip: not ip_address(ip).is_loopback)


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CtrlTransport, "timeout_s", 2.0)
    monkeypatch.setattr(proof, "RETRY_AFTER_S", (0.01, 0.02))


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
) -> Outcome:
    switched = previous is not None if switched is None else switched
    order = Order(files, False, "tok", (), "127.0.0.1", previous, switched)
    return await install(open_transport(target), order, Notebook())


async def refusal(target: Target) -> TransportError:
    with pytest.raises(TransportError) as caught:
        async with open_transport(target):
            pass
    return caught.value


# Who is it, and may we in.


async def test_wrong_certificate_is_refused_before_the_login(xmail: XMail, target: Target) -> None:
    error = await refusal(replace(target, trust_fingerprint=NEW.sha256))
    assert error.message == Message("ctrl.wrong_certificate", {"met": OLD.sha256})
    assert error.permanent
    assert (xmail.seen.logins, xmail.seen.failed_logins) == (0, 0)


async def test_fingerprint_may_be_written_with_colons(target: Target) -> None:
    pairs = [OLD.sha256[at : at + 2].upper() for at in range(0, 64, 2)]
    async with open_transport(replace(target, trust_fingerprint=":".join(pairs))) as transport:
        assert transport.identity == OLD.sha256


@pytest.mark.usefixtures("remote")
async def test_unregistered_host_is_not_even_connected_to(xmail: XMail, target: Target) -> None:
    error = await refusal(replace(target, trust_fingerprint=""))
    assert error.message.code == "ctrl.no_fingerprint"
    assert not xmail.seen.connections["ctrl"]


async def test_scan_shows_the_certificate_and_logs_in_nowhere(xmail: XMail, target: Target) -> None:
    assert await open_transport(replace(target, trust_fingerprint="")).scan() == OLD.sha256
    assert (xmail.seen.logins, xmail.seen.failed_logins) == (0, 0)


async def test_bad_login_is_tried_once(xmail: XMail, target: Target) -> None:
    bad = replace(target, credential=replace(target.credential, password="wrong"))
    error = await refusal(bad)
    assert (error.message.code, error.permanent) == ("ctrl.bad_login", True)
    assert xmail.seen.failed_logins == 1


async def test_password_never_crosses(xmail: XMail, target: Target) -> None:
    async with open_transport(target):
        pass
    assert (xmail.seen.logins, xmail.seen.clear_passwords) == (1, 0)


async def test_denied_address_is_said(xmail: XMail, target: Target) -> None:
    xmail.faults.ctrl_denied = True
    assert (await refusal(target)).message.code == "ctrl.turned_away"


async def test_another_service_is_no_xmail(xmail: XMail, target: Target) -> None:
    error = await refusal(replace(target, port=xmail.ports["smtp"]))
    assert error.message.code == "ctrl.not_xmail"


async def test_nobody_listens(xmail: XMail, target: Target) -> None:
    xmail.refuse("ctrl")
    assert (await refusal(target)).message.code == "ctrl.nobody_listens"


async def test_tls_from_the_first_byte(
    xmail: XMail, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = xmail.ports["ctrls"]
    monkeypatch.setattr(ctrl_transport, "TLS_PORT", port)
    async with open_transport(replace(target, port=port)) as transport:
        assert transport.confidential
        assert transport.identity == OLD.sha256
        assert await transport.read("server.key") == OLD.key
    assert xmail.seen.connections == {"ctrls": 1}


@pytest.mark.usefixtures("remote")
async def test_switched_off_tls_is_said(xmail: XMail, target: Target, mailroot: Path) -> None:
    write_settings(mailroot, {"EnableCTRL-TLS": "0"})
    assert (await refusal(target)).message.code == "ctrl.tls_off"
    assert xmail.seen.logins == 0


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("drop", ["reset", "eof"])
async def test_no_login_in_clear_where_tls_is_broken(
    xmail: XMail, target: Target, mailroot: Path, drop: str
) -> None:
    write_pair(mailroot, NEW.key, OLD.certificate)
    xmail.faults.drop = drop
    error = await refusal(target)
    assert isinstance(error, ChannelUnusable)
    assert error.message.code == "ctrl.tls_unusable"
    assert (xmail.seen.logins, xmail.seen.failed_logins) == (0, 0)


# What is allowed in clear.


async def test_first_pair_goes_in_clear_on_this_machine_and_its_mode_is_said(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, None, None)
    outcome = await put_pair(replace(target, trust_fingerprint=""))
    assert outcome.status == "INSTALLED", outcome
    assert held(mailroot) == NEW_FILES
    assert xmail.seen.clear_passwords == 0
    path = f"{mailroot}/server.key"
    assert outcome.notes == [Message("install.mode_0666", {"path": path})]


@pytest.mark.usefixtures("remote")
async def test_no_key_in_clear_to_another_machine_unless_allowed(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, None, None)
    outcome = await put_pair(target)
    assert (outcome.status, outcome.message.code) == ("FAILED", "ctrl.tls_unusable")
    assert (xmail.seen.clear_keys, xmail.seen.uploads) == (0, [])
    outcome = await put_pair(replace(target, allow_plain_key=True))
    assert outcome.status == "INSTALLED"
    assert held(mailroot) == NEW_FILES


async def test_channel_in_clear_carries_the_certificate_alone(xmail: XMail, target: Target) -> None:
    transport = open_transport(target)
    await transport.connect_in_clear()
    try:
        assert not transport.confidential
        assert await transport.read("server.cert") == OLD.certificate
        assert await transport.read("no.key") is None
        for forbidden in (
            transport.read("server.key"),
            transport.replace_all([File("server.key", NEW.key, private=True)], "tok"),
            transport.replace_all([File("server.tab", b"x\n")], "tok"),
            transport.remove(["server.key"]),
        ):
            with pytest.raises(TransportError):
                await forbidden
        await transport.replace_all([File("server.cert", NEW.certificate)], "tok")
    finally:
        await transport.close()
    assert xmail.seen.clear_keys == 0
    assert uploaded(xmail) == ["server.cert"]


def uploaded(xmail: XMail) -> list[str]:
    """What was written, but for the harmless file that tries whether there is room."""
    return [path for path, _ in xmail.seen.uploads if path != "server.scratch"]


# Order, and what is lost on a full disk.


async def test_scratch_then_key_then_certificate(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    outcome = await put_pair(target)
    assert outcome.status == "INSTALLED"
    (scratch, deletion, *files) = xmail.seen.uploads
    assert scratch[0] == deletion[0] == "server.scratch"
    assert (len(scratch[1]), deletion[1]) == (max(len(NEW.key), len(NEW.certificate)), b"")
    assert files == [("server.key", NEW.key), ("server.cert", NEW.certificate)]
    assert not (mailroot / "server.scratch").exists()
    assert xmail.seen.logins == 1


async def test_full_disk_is_noticed_before_anything_is_touched(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    xmail.faults.full_disk = True
    outcome = await put_pair(target)
    assert (outcome.status, outcome.message.code) == ("FAILED", "transport.disk_full")
    assert held(mailroot) == OLD_FILES
    assert not outcome.key_written


@pytest.mark.parametrize("lost", ["server.key", "server.cert"])
async def test_file_lost_on_a_full_disk_is_written_back_in_the_same_session(
    xmail: XMail, target: Target, mailroot: Path, lost: str
) -> None:
    new = {"server.key": NEW.key, "server.cert": NEW.certificate}[lost]
    xmail.faults.mangle = lambda path, data: b"" if data == new else data
    outcome = await put_pair(target)
    assert (outcome.status, outcome.message.code) == ("FAILED", "transport.disk_full")
    assert held(mailroot) == OLD_FILES
    assert xmail.seen.logins == 1
    notes = [note.code for note in outcome.notes]
    assert notes == (["install.mode_0666"] if lost == "server.key" else [])


@pytest.mark.parametrize(
    "mangled", [NEW.key[:100], NEW.key.replace(b"\n", b"\r\n\r\n"), b"A" * len(NEW.key)]
)
async def test_key_stored_differently_is_caught_and_undone(
    xmail: XMail, target: Target, mailroot: Path, mangled: bytes
) -> None:
    xmail.faults.mangle = lambda path, data: mangled if data == NEW.key else data
    outcome = await put_pair(target)
    assert outcome.status == "FAILED"
    assert held(mailroot) == OLD_FILES


async def test_read_only_host_names_the_cause(xmail: XMail, target: Target, mailroot: Path) -> None:
    xmail.faults.read_only = True
    outcome = await put_pair(target)
    assert (outcome.status, outcome.message.code) == ("FAILED", "ctrl.not_created")
    assert held(mailroot) == OLD_FILES


async def test_placing_needs_a_directory_that_ctrl_cannot_make(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    order = Order(NEW_FILES, True, "tok")
    outcome = await install(open_transport(target), order, Notebook())
    assert (outcome.status, outcome.message.code) == ("FAILED", "ctrl.not_created")
    (mailroot / "sslconf").mkdir()
    outcome = await install(open_transport(target), order, Notebook())
    assert outcome.status == "PLACED"
    assert (mailroot / "sslconf" / "server.key").read_bytes() == NEW.key


async def test_line_ends_of_the_previous_pair_do_not_matter(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    crlf = PairFiles(OLD.key.replace(b"\n", b"\r\n"), OLD.certificate.replace(b"\n", b"\r\n"))
    write_pair(mailroot, crlf.key, crlf.certificate)
    outcome = await put_pair(target, crlf)
    assert outcome.status == "UNCHANGED"


# Sessions that break.


def cuts(total: int, step: int) -> range:
    return range(1, total, step)


async def settle(xmail: XMail, target: Target, mailroot: Path, faults: Faults) -> Outcome:
    """Install with these faults, and look whether what is there is what the outcome says."""
    write_pair(mailroot, OLD.key, OLD.certificate)
    vars(xmail.faults).update(vars(faults))
    outcome = await put_pair(target)
    vars(xmail.faults).update(vars(Faults()))
    expected = NEW_FILES if outcome.status == "INSTALLED" else OLD_FILES
    assert held(mailroot) == expected, (faults, outcome)
    assert outcome.status in {"INSTALLED", "FAILED", "ROLLED_BACK"}
    assert outcome.message.code != "install.unknown_state"
    return outcome


@pytest.mark.usefixtures("remote")
async def test_reply_cut_after_any_byte(xmail: XMail, target: Target, mailroot: Path) -> None:
    seen = set()
    for cut in cuts(4300, 61):
        faults = Faults(cut_after_sent=cut, cuts_left=1)
        seen.add((await settle(xmail, target, mailroot, faults)).status)
    assert seen == {"INSTALLED", "FAILED"}
    assert (xmail.seen.clear_keys, xmail.seen.clear_passwords) == (0, 0)


@pytest.mark.usefixtures("remote")
async def test_request_cut_after_any_byte(xmail: XMail, target: Target, mailroot: Path) -> None:
    seen = set()
    for cut in cuts(2600, 37):
        faults = Faults(cut_after_received=cut, cuts_left=1)
        seen.add((await settle(xmail, target, mailroot, faults)).status)
    assert seen == {"INSTALLED", "FAILED"}
    assert xmail.seen.clear_keys == 0
    stored = {data for path, data in xmail.seen.uploads if path == "server.key"}
    assert stored == {NEW.key}, "a record was taken for whole of which only a part had come"


async def test_request_cut_after_any_byte_on_this_machine(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    for cut in cuts(2600, 61):
        await settle(xmail, target, mailroot, Faults(cut_after_received=cut, cuts_left=1))


@pytest.mark.usefixtures("remote")
async def test_session_broken_between_the_files_is_finished_with_the_certificate_in_clear(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    def cut_after_the_key(path: str, data: bytes) -> bytes:
        if data == NEW.key:
            xmail.faults.cut_after_sent = 0
            xmail.faults.cuts_left = 1
        return data

    xmail.faults.mangle = cut_after_the_key
    outcome = await put_pair(target)
    assert outcome.status == "INSTALLED", outcome
    assert held(mailroot) == NEW_FILES
    assert xmail.seen.uploads[-1] == ("server.cert", NEW.certificate)
    assert (xmail.seen.clear_keys, xmail.seen.failed_handshakes["ctrl"]) == (0, 1)
    assert (xmail.seen.logins, xmail.seen.clear_logins) == (3, 1)


@pytest.mark.usefixtures("remote")
async def test_no_login_in_clear_where_the_portal_may_not(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    careful = replace(target, clear_recovery=False)
    write_pair(mailroot, NEW.key, OLD.certificate)
    outcome = await put_pair(careful, previous=OLD_FILES)
    assert (outcome.status, outcome.unsettled) == ("FAILED", True)
    assert outcome.message.code == "install.unknown_state"
    by_hand = Message("ctrl.no_clear_recovery", {"path": f"{mailroot}/server.cert"})
    assert by_hand in outcome.notes
    assert (xmail.seen.logins, xmail.seen.clear_logins) == (0, 0)
    write_pair(mailroot, NEW.key, NEW.certificate)  # as it says
    assert (await put_pair(careful, previous=OLD_FILES)).status == "INSTALLED"
    assert xmail.seen.clear_logins == 0
    write_pair(mailroot, OLD.key, NEW.certificate)  # and where a person allowed it, it is done
    allowed = replace(careful, allow_plain_key=True)
    assert (await put_pair(allowed, previous=OLD_FILES)).status == "INSTALLED"


@pytest.mark.usefixtures("remote")
async def test_no_login_in_clear_before_a_key_was_sent(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, NEW.key, OLD.certificate)  # somebody else's mishap
    outcome = await put_pair(target, previous=OLD_FILES, switched=False)
    assert outcome.status == "FAILED"
    assert (xmail.seen.logins, xmail.seen.clear_logins) == (0, 0)


@pytest.mark.usefixtures("remote")
async def test_one_login_in_clear_a_run_and_no_more(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, b"no key\n", OLD.certificate)
    outcome = await put_pair(target, previous=OLD_FILES)
    assert (outcome.status, outcome.unsettled) == ("FAILED", True)
    assert uploaded(xmail) == ["server.cert", "server.cert"]
    assert (xmail.seen.logins, xmail.seen.clear_logins) == (1, 1)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("wanted", [NEW_FILES, PairFiles(None, None)])
async def test_next_run_finishes_what_a_killed_one_left_between_the_files(
    xmail: XMail, target: Target, mailroot: Path, wanted: PairFiles
) -> None:
    write_pair(mailroot, wanted.key, OLD.certificate)
    outcome = await put_pair(target, wanted, previous=OLD_FILES)
    assert outcome.status in {"INSTALLED", "REMOVED"}, outcome
    assert held(mailroot) == wanted
    assert outcome.previous == OLD_FILES
    assert xmail.seen.clear_keys == 0


@pytest.mark.usefixtures("remote")
async def test_certificate_alone_goes_back_where_the_key_never_arrived(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, OLD.key, NEW.certificate)
    outcome = await put_pair(target, previous=OLD_FILES)
    assert outcome.status == "INSTALLED"
    assert held(mailroot) == NEW_FILES
    assert uploaded(xmail)[:2] == ["server.cert", "server.cert"]


@pytest.mark.parametrize(
    "stage", ["connect", "greeting", "ready", "handshake", "login", "command", "upload", "stored"]
)
@pytest.mark.usefixtures("remote")
async def test_silent_host_is_given_up(
    xmail: XMail, target: Target, mailroot: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CtrlTransport, "timeout_s", 0.15)
    xmail.faults.silent_at = stage
    outcome = await put_pair(target)
    assert outcome.status == "FAILED"
    assert outcome.message.code in {"ctrl.silent", "ctrl.tls_unusable", "install.unknown_state"}
    assert held(mailroot) == OLD_FILES


async def test_bad_pair_is_undone_and_the_previous_one_is_proven(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    endpoints = [Endpoint(name, xmail.ports[name]) for name in ("smtp", "smtps", "pop3", "pop3s")]
    bad = PairFiles(NEW.key, make_pair("other.test").certificate)
    order = Order(bad, False, "tok", endpoints, "127.0.0.1")
    outcome = await install(open_transport(target), order, Notebook())
    assert (outcome.status, outcome.message.code) == ("ROLLED_BACK", "install.endpoints_restored")
    assert held(mailroot) == OLD_FILES


# Fields.


@given(st.text(max_size=12))
def test_no_field_becomes_another_command(text: str) -> None:
    try:
        line = ctrl.command("cfgfileget", text).decode()
    except ctrl.CtrlError:
        assert any(ord(letter) < 32 or letter in '"\x7f' for letter in text)
        return
    assert line == f'"cfgfileget"\t"{text}"\r\n'
    assert line.count('"') == 4
    assert line.count("\t") == line.count("\r") == line.count("\n") == 1
    assert "\x00" not in line


@pytest.mark.parametrize("user", ['a"b', "a\tb", "a\r\nnoop", "a\x00", "a\n"])
async def test_strange_user_is_refused_and_never_sent(
    xmail: XMail, target: Target, user: str
) -> None:
    assert (await refusal(replace(target, user=user))).message.code == "ctrl.bad_field"
    assert (xmail.seen.failed_logins, xmail.seen.commands) == (0, [("ctrl", "#!TLS")])


@given(st.lists(st.sampled_from([b".", b"..", b"a", b".a", b"", b"\r", b"-----"]), max_size=6))
def test_data_ends_only_at_its_end(lines: list[bytes]) -> None:
    sent = ctrl.as_lines(b"\n".join(lines))
    assert sent.endswith(b".\r\n")
    assert b".\r\n" not in {line + b"\r\n" for line in sent[:-3].split(b"\r\n")}
