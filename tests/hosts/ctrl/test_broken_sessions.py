"""Sessions of CTRL that break, and the one log-in in clear that may finish what they began."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from hosts.install import LeaseLost, Order, Outcome, PairFiles, install
from hosts.messages import Message
from hosts.probe import Endpoint
from hosts.transports import CtrlTransport, Target, open_transport
from hosts.transports import ctrl as ctrl_transport
from tests.doubles import dialogues
from tests.doubles.mailroot import write_pair
from tests.doubles.pairs import make_pair
from tests.doubles.wire import Faults, Wire
from tests.doubles.xmail import XMail
from tests.hosts.ctrl.cases import NEW, NEW_FILES, OLD, OLD_FILES, held, put_pair, uploaded
from tests.hosts.memory import Notebook


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


def by_hand(mailroot: Path) -> Message:
    """What says which file to copy by hand."""
    return Message("install.by_hand", {"path": f"{mailroot}/server.cert"})


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("drop", ["reset", "eof", "hang"])
@pytest.mark.parametrize("service", ["ctrl", "ctrls"])
async def test_switch_that_broke_ends_with_the_file_to_copy_however_tls_fails(
    xmail: XMail,
    target: Target,
    mailroot: Path,
    service: str,
    drop: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut_after_the_key(path: str, data: bytes) -> bytes:
        if data == NEW.key:
            vars(xmail.faults).update(cut_after_sent=0, cuts_left=1)
        return data

    port = xmail.ports[service]
    vars(xmail.faults).update(mangle=cut_after_the_key, drop=drop)
    monkeypatch.setattr(ctrl_transport, "TLS_PORT", xmail.ports["ctrls"])
    outcome = await put_pair(replace(target, port=port, clear_recovery=False))
    assert (outcome.status, outcome.message) == ("FAILED", by_hand(mailroot))
    assert outcome.unsettled
    assert held(mailroot) == PairFiles(NEW.key, OLD.certificate)
    assert xmail.seen.clear_logins == 0


@pytest.mark.usefixtures("remote")
async def test_no_login_in_clear_where_the_portal_may_not(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    careful = replace(target, clear_recovery=False)
    write_pair(mailroot, NEW.key, OLD.certificate)
    outcome = await put_pair(careful, previous=OLD_FILES)
    assert (outcome.status, outcome.unsettled) == ("FAILED", True)
    assert outcome.message == by_hand(mailroot)
    assert "ctrl.no_clear_recovery" in {note.code for note in outcome.notes}
    assert (xmail.seen.logins, xmail.seen.clear_logins) == (0, 0)
    write_pair(mailroot, NEW.key, NEW.certificate)  # as it says
    assert (await put_pair(careful, previous=OLD_FILES)).status == "INSTALLED"
    confirmed = replace(careful, trust_fingerprint=NEW.sha256)
    assert (await put_pair(confirmed)).status == "UNCHANGED"
    assert xmail.seen.clear_logins == 0
    write_pair(mailroot, None, OLD.certificate)
    outcome = await put_pair(careful, PairFiles(None, None), previous=OLD_FILES)
    assert outcome.message.code == "install.by_hand_removal"
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
async def test_one_login_in_clear_an_installation_and_no_more(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, b"no key\n", OLD.certificate)
    outcome = await put_pair(target, previous=OLD_FILES)
    assert (outcome.status, outcome.unsettled) == ("FAILED", True)
    assert outcome.message == by_hand(mailroot)
    assert uploaded(xmail) == ["server.cert", "server.cert"]
    assert (xmail.seen.logins, xmail.seen.clear_logins) == (1, 1)
    write_pair(mailroot, NEW.key, OLD.certificate)  # which another login in clear could mend
    outcome = await put_pair(target, previous=OLD_FILES, was_in_clear=True)
    assert (outcome.status, outcome.message) == ("FAILED", by_hand(mailroot))
    assert (xmail.seen.logins, xmail.seen.clear_logins) == (1, 1)


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("lost", ["connection", "lease"])
async def test_login_in_clear_is_on_record_just_before_it(
    xmail: XMail,
    target: Target,
    mailroot: Path,
    lost: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctrl_transport, "TLS_PORT", xmail.ports["ctrls"])
    monkeypatch.setattr(ctrl_transport, "CLEAR_PORT", xmail.ports["ctrl"])
    write_pair(mailroot, NEW.key, OLD.certificate)
    notebook = Notebook(lost_at="SWITCH" if lost == "lease" else "")
    if lost == "connection":
        xmail.refuse("ctrl")
    put = put_pair(
        replace(target, port=xmail.ports["ctrls"]), previous=OLD_FILES, notebook=notebook
    )
    with pytest.raises(LeaseLost) if lost == "lease" else nullcontext():
        await put
    assert notebook.steps.count("SWITCH") == 0, "there was none that would count"
    assert (xmail.seen.logins, xmail.seen.failed_logins) == (0, 0)


@pytest.mark.usefixtures("remote")
async def test_what_must_not_break_in_the_session_in_clear_is_one_message(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, NEW.key, OLD.certificate)
    vars(xmail.faults).update(cut_after_sent=300, cuts_left=1)  # while the file is read back
    outcome = await put_pair(target, previous=OLD_FILES)
    assert (outcome.status, xmail.seen.clear_logins) == ("INSTALLED", 1)
    assert [line for _, line in xmail.seen.commands][:4] == [
        "#!TLS",
        '"cfgfileset"\t"server.cert"',
        '"cfgfileget"\t"server.cert"',
        "#!TLS",
    ]


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("how", ["full_disk", "read_only", "refused before the data"])
async def test_in_clear_a_disk_is_waited_for(
    xmail: XMail, target: Target, mailroot: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(mailroot, NEW.key, OLD.certificate)
    waited: list[float] = []
    setattr(xmail.faults, "full_disk" if how == "full_disk" else "read_only", True)

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            xmail.faults.full_disk = xmail.faults.read_only = False

    def refuse(wire: Wire, words: list[str]) -> None:
        if not xmail.faults.read_only:
            return upload(wire, words)
        return wire.send("-00010 Unable to create file")  # and the data is commands

    upload, _ = dialogues._COMMANDS["cfgfileset"]
    if how == "refused before the data":
        monkeypatch.setitem(dialogues._COMMANDS, "cfgfileset", (refuse, 1))
    monkeypatch.setattr("hosts.transports.ctrl.asyncio.sleep", wait)
    assert (await put_pair(target, previous=OLD_FILES)).status == "INSTALLED"
    assert (xmail.seen.clear_logins, len(waited)) == (1, 3)


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


@pytest.mark.usefixtures("remote")
async def test_a_refused_certificate_costs_no_session(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    """The key is there already: without a pair that matches, no other session could follow."""

    def strike(path: str, data: bytes) -> bytes:
        xmail.faults.read_only = data == NEW.key
        return data

    class Mending(Notebook):
        async def step(self, step: str, message: Message) -> None:
            if step == "STAGE" and xmail.faults.read_only:
                xmail.faults.read_only, xmail.faults.mangle = False, None
            await super().step(step, message)

    xmail.faults.mangle = strike
    outcome = await put_pair(target, notebook=Mending())
    assert outcome.status == "INSTALLED"
    assert Message("ctrl.not_created", {"path": "server.cert"}) in outcome.notes
    assert held(mailroot) == NEW_FILES
    assert (xmail.seen.connections["ctrl"], xmail.seen.logins) == (1, 1)


BOTH = PairFiles(OLD.key, OLD.key + OLD.certificate)


@pytest.mark.usefixtures("remote")
async def test_a_key_beside_the_certificate_is_put_back_by_tls_alone(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, OLD.key, NEW.certificate)
    outcome = await put_pair(target, BOTH, previous=NEW_FILES)
    assert (outcome.status, held(mailroot)) == ("INSTALLED", BOTH)
    assert (xmail.seen.clear_logins, xmail.seen.clear_keys) == (1, 0)
    in_clear, *inside_tls = [data for path, data in xmail.seen.uploads if path == "server.cert"]
    assert (in_clear, inside_tls) == (OLD.certificate, [BOTH.certificate])


@pytest.mark.usefixtures("remote")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_key_beside_the_certificate_is_not_read_in_clear(
    xmail: XMail, target: Target, mailroot: Path, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(seconds: float) -> None:
        xmail.faults.read_only = False

    monkeypatch.setattr("hosts.transports.ctrl.asyncio.sleep", wait)
    write_pair(mailroot, NEW.key, BOTH.certificate)
    xmail.faults.read_only = fails
    outcome = await put_pair(target, previous=BOTH)
    assert (outcome.status, held(mailroot)) == ("INSTALLED", NEW_FILES)
    assert (xmail.seen.clear_logins, xmail.seen.clear_keys) == (1, 0)


@pytest.mark.usefixtures("remote")
async def test_a_key_beside_the_certificate_is_removed_unread(
    xmail: XMail, target: Target, mailroot: Path
) -> None:
    write_pair(mailroot, None, BOTH.certificate)
    outcome = await put_pair(target, PairFiles(None, None), previous=BOTH)
    assert (outcome.status, held(mailroot)) == ("REMOVED", PairFiles(None, None))
    assert (xmail.seen.clear_logins, xmail.seen.clear_keys) == (1, 0)
