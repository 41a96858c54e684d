"""The XMail double does what docs/xmail.md says; everything else here rests on that."""

from __future__ import annotations

import hashlib
import poplib
import smtplib
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.doubles.client import Client, login, put, unverified
from tests.doubles.mailroot import make_mailroot, write_pair, write_settings
from tests.doubles.pairs import Pair, make_pair
from tests.doubles.wire import DENIED, Faults
from tests.doubles.xmail import XMail

READY = {
    "smtp": ("EHLO x", "STARTTLS", "220 Ready to start TLS"),
    "pop3": ("CAPA", "STLS", "+OK Begin TLS negotiation"),
    "ctrl": ("", "#!TLS", "+00000 Ready to start TLS mode"),
}


@pytest.fixture
def pair() -> Pair:
    return make_pair()


@pytest.fixture
def xmail(tmp_path: Path, pair: Pair) -> Iterator[XMail]:
    mailroot = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)
    with XMail(mailroot) as running:
        yield running


def test_smtp_speaks_to_the_standard_library(xmail: XMail) -> None:
    with smtplib.SMTP("127.0.0.1", xmail.ports["smtp"], timeout=5) as client:
        assert b"[XMail 1.27 ESMTP Server] service ready" in client.ehlo()[1] or client.ehlo_resp
        assert client.has_extn("starttls")
        client.starttls(context=unverified())
        client.ehlo()
        assert not client.has_extn("starttls")


def test_pop3_speaks_to_the_standard_library(xmail: XMail) -> None:
    client = poplib.POP3("127.0.0.1", xmail.ports["pop3"], timeout=5)
    assert "STLS" in client.capa()
    client.stls(context=unverified())
    assert "STLS" not in client.capa()
    client.quit()


@pytest.mark.parametrize("service", ["smtps", "pop3s", "ctrls"])
def test_implicit_tls_serves_the_pair(xmail: XMail, pair: Pair, service: str) -> None:
    with closing(Client(xmail.ports[service])) as client:
        assert client.start_tls() == pair.sha256
        assert "XMail 1.27" in client.line()


@pytest.mark.parametrize("service", ["smtp", "pop3", "ctrl"])
def test_a_new_pair_is_live_at_the_next_handshake(xmail: XMail, pair: Pair, service: str) -> None:
    second = make_pair("b.test", kind="rsa2048")
    for expected in (pair, second):
        write_pair(xmail.mailroot, expected.key, expected.certificate)
        with closing(Client(xmail.ports[service])) as client:
            client.line()
            assert client.ask(READY[service][1]) == READY[service][2]
            assert client.start_tls() == expected.sha256


@pytest.mark.parametrize(
    "kind", ["p256", "p384", "ed25519", "rsa2048", "crlf", "bom", "text", "chain"]
)
def test_what_xmail_accepts(xmail: XMail, kind: str) -> None:
    good = make_pair(kind=kind if kind[0] in "per" and kind[-1].isdigit() else "p256")
    certificate = {
        "crlf": good.certificate.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + good.certificate,
        "text": b"subject=a.test\n" + good.certificate,
        "chain": good.certificate + make_pair("ca.test").certificate,
    }.get(kind, good.certificate)
    write_pair(xmail.mailroot, good.key, certificate)
    with closing(Client(xmail.ports["smtps"])) as client:
        assert client.start_tls() == good.sha256


@pytest.mark.parametrize(
    "fault", ["mismatch", "no key", "no certificate", "passphrase", "rsa1024", "der", "empty"]
)
@pytest.mark.parametrize("service", ["smtp", "pop3", "ctrl", "smtps", "pop3s", "ctrls"])
def test_an_unusable_pair_says_ready_and_drops(xmail: XMail, fault: str, service: str) -> None:
    good, other = make_pair(), make_pair()
    locked, weak = make_pair(password=b"secret"), make_pair(kind="rsa1024")
    key, certificate = {
        "mismatch": (other.key, good.certificate),
        "no key": (None, good.certificate),
        "no certificate": (good.key, None),
        "passphrase": (locked.key, locked.certificate),
        "rsa1024": (weak.key, weak.certificate),
        "der": (good.key, good.der),
        "empty": (good.key, b""),
    }[fault]
    write_pair(xmail.mailroot, key, certificate)
    with closing(Client(xmail.ports[service])) as client:
        if service in READY:
            client.line()
            assert client.ask(READY[service][1]) == READY[service][2]
        with pytest.raises((OSError, EOFError)):
            client.start_tls()
    assert xmail.seen.failed_handshakes[service] == 1


def test_starttls_is_advertised_with_an_unusable_pair(xmail: XMail) -> None:
    write_pair(xmail.mailroot, None, None)
    with closing(Client(xmail.ports["smtp"])) as client:
        client.line()
        client.say("EHLO x")
        assert client.until("250 STARTTLS")


@pytest.mark.parametrize(
    ("service", "name", "answer"),
    [
        ("smtp", "EnableSMTP-TLS", "454 TLS not available"),
        ("pop3", "EnablePOP3-TLS", "-ERR Command disabled"),
        ("ctrl", "EnableCTRL-TLS", "-00249 TLS service disabled"),
    ],
)
def test_server_tab_is_read_for_every_session(
    xmail: XMail, service: str, name: str, answer: str
) -> None:
    hello, start, ready = READY[service]
    for value, expected in (("1", ready), ("0", answer)):
        write_settings(xmail.mailroot, {name: value})
        with closing(Client(xmail.ports[service])) as client:
            client.line()
            if hello:
                client.say(hello)
                offered = " ".join(client.until("." if service == "pop3" else "250 STARTTLS")
                                   if value == "1" or service == "pop3"
                                   else client.until("250 SIZE"))  # fmt: skip
                assert (start in offered) == (value == "1" and service == "pop3")
            assert client.ask(start) == expected


def test_commands_sent_in_clear_are_executed_inside_tls(xmail: XMail) -> None:
    with closing(Client(xmail.ports["smtp"])) as client:
        client.line()
        assert client.ask("STARTTLS", "NOOP") == READY["smtp"][2]
        client.start_tls()
        assert client.line() == "250 OK"


def test_ctrl_log_in(xmail: XMail) -> None:
    for plain in (False, True):
        with closing(Client(xmail.ports["ctrl"])) as client:
            assert login(client, xmail, plain=plain) == "+00000 OK"
            assert client.ask('"noop"') == "+00000 OK"
            assert client.ask('"nonsense"') == "-00103 Bad CTRL command syntax"
            assert client.ask('"quit"') == "+00000 OK"
    assert (xmail.seen.logins, xmail.seen.clear_passwords) == (2, 1)


def test_ctrl_refuses_a_wrong_password_and_closes(xmail: XMail) -> None:
    with closing(Client(xmail.ports["ctrl"])) as client:
        client.line()
        assert client.ask(f'"{xmail.user}"\t"wrong"') == "-00105 Bad controller login"
        with pytest.raises(EOFError):
            client.line()


def test_ctrl_inside_tls_uses_the_first_time_stamp(xmail: XMail) -> None:
    with closing(Client(xmail.ports["ctrl"])) as client:
        stamp = client.line().split(" ")[1]
        client.ask("#!TLS")
        client.start_tls()
        digest = hashlib.md5((stamp + xmail.password).encode()).hexdigest()  # noqa: S324
        assert client.ask(f'"{xmail.user}"\t"#{digest}"') == "+00000 OK"


@pytest.fixture
def ctrl(xmail: XMail) -> Iterator[Client]:
    with closing(Client(xmail.ports["ctrl"])) as client:
        assert login(client, xmail) == "+00000 OK"
        yield client


def test_ctrl_files(xmail: XMail, ctrl: Client) -> None:
    assert ctrl.ask('"cfgfileget"\t"missing"') == "-00019 Unable to open file"
    assert ctrl.ask('"cfgfileget"\t"../x"') == "-00214 Error in relative path syntax"
    assert ctrl.ask('"cfgfileset"\t"a/../x"') == "-00214 Error in relative path syntax"
    assert ctrl.ask('"filelist"\t"none"\t"*"') == "-00211 Listing directory not found"
    assert put(ctrl, "none/x", "data") == "-00010 Unable to create file"
    assert put(ctrl, "x.txt", "one", "..two") == "+00000 OK"
    assert (xmail.mailroot / "x.txt").read_bytes() == b"one\n.two\n"
    assert ctrl.ask('"cfgfileget"\t"x.txt"') == "+00100 OK"
    assert ctrl.until(".") == ["one", "..two"]
    assert ctrl.ask('"filelist"\t"."\t"x.*"') == "+00100 OK"
    assert ctrl.until(".") == ['"x.txt"\t"9"']
    assert put(ctrl, "x.txt") == "+00000 OK"
    assert not (xmail.mailroot / "x.txt").exists()


def test_ctrl_makes_new_files_open_to_all_and_keeps_the_mode_of_old_ones(
    xmail: XMail, ctrl: Client
) -> None:
    put(ctrl, "new.txt", "x")
    put(ctrl, "server.key", "x")  # was 0600
    modes = [stat.S_IMODE((xmail.mailroot / name).stat().st_mode)
             for name in ("new.txt", "server.key")]  # fmt: skip
    assert modes == [0o666, 0o600]


def test_ctrl_on_a_full_disk_answers_ok_and_deletes(xmail: XMail, ctrl: Client) -> None:
    xmail.faults.full_disk = True
    assert put(ctrl, "server.key", "x") == "+00000 OK"
    assert put(ctrl, "new.txt", "x") == "+00000 OK"
    assert not (xmail.mailroot / "server.key").exists()
    assert not (xmail.mailroot / "new.txt").exists()
    assert ctrl.ask('"cfgfileget"\t"server.cert"') == "+00100 OK"
    assert ctrl.until(".") == [], "the copy that is sent has no room"


@pytest.mark.parametrize("value", ["0", "", "yes", "x1", "-0", "1", "2", "-1", "+1", " 1", "1x"])
def test_switches_are_read_as_numbers(xmail: XMail, value: str) -> None:
    write_settings(xmail.mailroot, {"EnablePOP3-TLS": value})
    on = value not in {"0", "", "yes", "x1", "-0"}
    with closing(Client(xmail.ports["pop3"])) as client:
        client.line()
        answer = client.ask("STLS")
    assert answer == ("+OK Begin TLS negotiation" if on else "-ERR Command disabled")


def test_a_key_in_clear_is_noticed(xmail: XMail, pair: Pair, ctrl: Client) -> None:
    put(ctrl, "server.cert", *pair.certificate.decode().splitlines())
    assert xmail.seen.clear_keys == 0
    put(ctrl, "server.key", *pair.key.decode().splitlines())
    assert xmail.seen.clear_keys == 1


def test_a_cut_while_data_is_sent_stores_what_came(xmail: XMail, ctrl: Client) -> None:
    xmail.faults.cut_after_received = 100_000  # nothing is cut so far
    ctrl.ask('"cfgfileset"\t"x.txt"')
    ctrl.say("one", "two")
    ctrl.sock.sendall(b"thr")
    ctrl.close()
    for thread in list(xmail._threads):
        thread.join(5)
    assert (xmail.mailroot / "x.txt").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(("more", "stored"), [(30, None), (1000, b"one\ntwo\n")])
def test_of_a_tls_record_that_is_cut_nothing_has_come(
    xmail: XMail, more: int, stored: bytes | None
) -> None:
    path = xmail.mailroot / "x.txt"
    for line in ('"noop"', '"cfgfileset"\t"x.txt"'):
        with closing(Client(xmail.ports["ctrls"], tls=True)) as client:
            assert login(client, xmail) == "+00000 OK"
            (wire,) = xmail._live
            used = wire._received  # by handshake and log-in, every time
            client.say(line, "one", "two")
        for thread in list(xmail._threads):
            thread.join(5)
        assert (path.read_bytes() if path.exists() else None) == (stored if "x" in line else None)
        xmail.faults.cut_after_received = used + more  # 30: "one" would have come in clear


def test_cuts_come_after_the_byte_ordered(xmail: XMail) -> None:
    xmail.faults.services, xmail.faults.cuts_left = frozenset({"pop3"}), 1
    xmail.faults.cut_after_sent = 150  # beyond the greeting: else connecting may be what is reset
    with closing(Client(xmail.ports["pop3"])) as client:
        client.say("CAPA", "CAPA")
        told = b""
        while len(told) < xmail.faults.cut_after_sent:
            told += client.sock.recv(64)
        assert len(told) == xmail.faults.cut_after_sent
        with pytest.raises(ConnectionResetError):
            client.sock.recv(64)
    with closing(Client(xmail.ports["pop3"])) as client:
        assert client.line().startswith("+OK")
    xmail.faults.cut_after_sent, xmail.faults.cuts_left = None, 1
    xmail.faults.cut_after_received = len("CAPA\r\n") + 3
    with closing(Client(xmail.ports["pop3"])) as client:
        client.line()
        client.say("CAPA", "QUIT")
        assert client.until(".")
        with pytest.raises(OSError, match="reset"):
            client.line()


def test_a_service_can_refuse_and_come_back(tmp_path: Path) -> None:
    with XMail(make_mailroot(tmp_path / "MailRoot"), refused=["ctrl"]) as xmail:
        with pytest.raises(ConnectionRefusedError):
            Client(xmail.ports["ctrl"])
        xmail.allow("ctrl")
        with closing(Client(xmail.ports["ctrl"])) as client:
            assert client.line().startswith("+00000 <")
        xmail.refuse("ctrl")
        with pytest.raises(ConnectionRefusedError):
            Client(xmail.ports["ctrl"])


def test_log_ins_can_run_out_and_addresses_be_denied(xmail: XMail) -> None:
    xmail.faults.logins_left = 1
    answers = []
    for _ in range(2):
        with closing(Client(xmail.ports["ctrl"])) as client:
            answers.append(login(client, xmail))
    assert answers == ["+00000 OK", "-00105 Bad controller login"]
    xmail.faults.ctrl_refusal = DENIED
    with closing(Client(xmail.ports["ctrl"])) as client:
        assert client.line() == DENIED


@pytest.mark.parametrize("stage", ["connect", "greeting", "command", "ready", "handshake"])
def test_silence_at_a_stage(tmp_path: Path, stage: str) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    with (
        XMail(mailroot, services=["smtp"], faults=Faults(silent_at=stage)) as xmail,
        closing(Client(xmail.ports["smtp"])) as client,
    ):
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            start_smtp_tls(client)


def start_smtp_tls(client: Client) -> None:
    client.line()
    client.ask("STARTTLS")
    client.start_tls()
