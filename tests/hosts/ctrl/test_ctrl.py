"""CTRL, its traps, and what is left on the host after each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts import addresses, ctrl, ctrl_text
from hosts.install import Order, PairFiles, install
from hosts.messages import Message
from hosts.transports import CtrlTransport, File, Target, TransportError, open_transport
from hosts.transports import ctrl as ctrl_transport
from hosts.transports.base import ChannelUnusable
from tests.doubles.mailroot import write_pair, write_settings
from tests.doubles.wire import BUSY, DENIED
from tests.doubles.xmail import XMail
from tests.hosts.ctrl.cases import NEW, NEW_FILES, OLD, OLD_FILES, held, put_pair, refusal, uploaded
from tests.hosts.memory import Notebook

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
    xmail.faults.ctrl_refusal = DENIED
    error = await refusal(target)
    assert (error.message.code, error.permanent) == ("ctrl.turned_away", True)


async def test_server_that_is_too_busy_is_not_told_to_allow_the_address(
    xmail: XMail, target: Target
) -> None:
    xmail.faults.ctrl_refusal = BUSY
    error = await refusal(target)
    assert (error.message, error.permanent) == (Message("ctrl.busy", {"reply": BUSY}), False)


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


async def test_a_host_that_was_known_gets_no_key_in_clear_on_this_machine_either(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    """While XMail is down, somebody else may listen at its port."""
    write_pair(mailroot, None, None)
    outcome = await put_pair(target)
    assert (outcome.status, outcome.message.code) == ("FAILED", "ctrl.tls_unusable")
    assert (xmail.seen.clear_keys, xmail.seen.uploads, xmail.seen.logins) == (0, [], 0)


async def test_a_name_that_leads_to_this_machine_does_not_make_it_this_machine(
    xmail: XMail, target: Target, mailroot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here(*_about: object) -> str:
        return "127.0.0.1"

    monkeypatch.setattr(addresses, "resolve", here)
    write_pair(mailroot, None, None)
    named = replace(target, address="mail2.test", trust_fingerprint="")
    assert (await refusal(named)).message.code == "ctrl.no_fingerprint"
    assert xmail.seen.logins == 0
    local = replace(named, address="localhost")
    assert (await put_pair(local)).status == "INSTALLED"


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
        assert await transport.read("no.key") is None
        for forbidden in (
            transport.read("server.key"),
            transport.read("server.cert"),  # which may hold a key, too
            transport.replace_all([File("server.cert", OLD.key + OLD.certificate)], "tok"),
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


# Order, and what is lost on a full disk.


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CtrlTransport, "room_tries", 1)


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
    def fill_up(path: str, data: bytes) -> bytes:
        xmail.faults.full_disk = True
        return data

    xmail.faults.mangle = fill_up
    outcome = await put_pair(target)
    assert (outcome.status, outcome.message.code) == ("FAILED", "transport.disk_full")
    assert xmail.seen.uploads
    assert held(mailroot) == OLD_FILES
    assert not outcome.key_written


async def test_what_a_full_disk_makes_of_a_file_is_not_taken_for_it(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    """XMail sends a copy of the file, for which there is no room: it says OK and sends nothing."""
    xmail.faults.full_disk = True
    notebook = Notebook()
    outcome = await put_pair(target, notebook=notebook)
    cause = Message("ctrl.cut_short", {"path": "server.key", "size": len(OLD.key)})
    assert (outcome.status, outcome.message) == ("FAILED", cause)
    assert (outcome.previous, notebook.adopted) == (None, None)
    assert held(mailroot) == OLD_FILES
    xmail.faults.full_disk = False
    assert (await put_pair(target)).status == "INSTALLED"


async def test_a_file_that_xmail_says_it_could_not_write_is_written_back(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    """It has deleted it then; the key, which is new already, goes back as well."""

    def lack(path: str, data: bytes) -> bytes:
        xmail.faults.scant_disk = data == NEW.certificate
        return data

    xmail.faults.mangle = lack
    outcome = await put_pair(target)
    assert (outcome.status, outcome.message.code) == ("FAILED", "transport.disk_full")
    assert held(mailroot) == OLD_FILES
    assert xmail.seen.logins == 1


@pytest.mark.usefixtures("remote", "no_patience")
async def test_a_key_that_is_lost_for_good_is_named(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    def fill_up(path: str, data: bytes) -> bytes:
        xmail.faults.full_disk = xmail.faults.full_disk or data == NEW.key
        return data

    xmail.faults.mangle = fill_up
    outcome = await put_pair(target)
    assert (outcome.status, outcome.unsettled) == ("FAILED", True)
    assert Message("ctrl.lost_file", {"path": "server.key"}) in outcome.notes


@pytest.mark.parametrize("start", [b"", b"note\r\n" * 3])
async def test_whole_files_are_never_called_short(
    xmail: XMail, target: Target, mailroot: Path, start: bytes
) -> None:
    """Without an end of line, with CRLF, with long lines, as UTF-16 or with nothing in it."""
    target = replace(target, allow_plain_key=True)  # what lies there is no certificate
    for text in (b"", b"a", b"a\r\n" * 900, b"x" * 9000, "text\n".encode("utf-16"), b"a\0" * 4000):
        (mailroot / "server.cert").write_bytes(start + text)
        async with open_transport(target) as transport:
            assert await transport.read_all(["server.key", "server.cert"])


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


async def test_host_where_xmail_cannot_even_copy_names_the_cause(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    xmail.faults.no_copies = True
    outcome = await put_pair(target)
    assert (outcome.status, outcome.message.code) == ("FAILED", "ctrl.no_copy")
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


@pytest.mark.parametrize(
    "note",
    [b"x" * 2000, b"x" * 2044, b"." * 2046, b"DNS:pop.example.jp, " * 500, b"a\r\r\n\0b\n"],
)
async def test_a_pair_with_notes_that_xmail_would_not_take(
    xmail: XMail, target: Target, mailroot: Path, note: bytes
) -> None:
    """Such as the text of a certificate with many names: a long line would end the file."""
    files = PairFiles(NEW.key, note + b"\n" + NEW.certificate)
    outcome = await put_pair(target, files)
    assert outcome.status == "INSTALLED", outcome
    stored = (mailroot / "server.cert").read_bytes()
    assert stored.endswith(NEW.certificate)
    assert stored.replace(b"\n", b"").startswith(note.partition(b"\r")[0].replace(b"\n", b""))
    assert not {line for _, line in xmail.seen.commands if "x" * 9 in line or "DNS" in line}
    target = replace(target, trust_fingerprint=NEW.sha256)
    assert (await put_pair(target, files)).status == "UNCHANGED"


@given(st.lists(st.sampled_from([b".", b"..", b"a", b".a", b"", b"\r", b"-----"]), max_size=6))
def test_data_ends_only_at_its_end(lines: list[bytes]) -> None:
    sent = ctrl_text.as_lines(b"\n".join(lines))
    assert sent.endswith(b".\r\n")
    assert b".\r\n" not in {line + b"\r\n" for line in sent[:-3].split(b"\r\n")}


def test_what_stands_behind_a_nul_is_lost_before_the_line_ends_are_looked_at() -> None:
    assert ctrl_text.canonical(b"x\r\0y\nz\r\n") == b"x\nz\n"
