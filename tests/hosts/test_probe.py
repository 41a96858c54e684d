"""The probe against the XMail double: what is proven, and the exact stage of what is not."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
from base64 import encodebytes
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from unittest import mock

import pytest

from hosts.probe import DEFAULT_PORTS, ENDPOINT_NAMES, Endpoint, EndpointResult, probe, probe_all
from hosts.probe_dialogue import Channel, _recognise
from tests.doubles.mailroot import make_mailroot, write_pair, write_settings
from tests.doubles.pairs import Pair, make_pair
from tests.doubles.wire import Faults, tls_context
from tests.doubles.xmail import XMail
from tests.hosts.speech import spoken

STARTTLS = ("smtp", "submission", "pop3")
AT_ONCE = ("smtps", "pop3s", "ctrls")


@pytest.fixture
def pair() -> Pair:
    return make_pair("mail.example.jp", aliases=["mail.example.jp", "pop.example.jp"])


@pytest.fixture
def xmail(tmp_path: Path, pair: Pair) -> Iterator[XMail]:
    mailroot = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)
    with XMail(mailroot) as running:
        yield running


async def look(xmail: XMail, name: str, timeout_s: float = 5) -> EndpointResult:
    result = await probe("127.0.0.1", Endpoint(name, xmail.ports[name]), timeout_s)
    assert f"{name.upper()} {xmail.ports[name]}" in spoken(result.message)
    return result


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of something that is no XMail and serves one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with closing(listener.accept()[0]) as sock:
                serve(sock)

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def saying(text: bytes) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        with suppress(OSError):  # the probe hangs up before it has read everything
            sock.sendall(text)
            sock.recv(64)

    return serve


@pytest.mark.parametrize("name", ENDPOINT_NAMES)
async def test_a_good_endpoint(xmail: XMail, pair: Pair, name: str) -> None:
    result = await look(xmail, name)
    assert (result.ok, result.stage, result.message.code) == (True, "done", "probe.ok")
    assert result.sha256 == pair.sha256
    assert result.chain[0] == pair.der
    assert (result.tls_version, result.xmail_version) == ("TLSv1.3", "1.27")
    assert result.subject == "CN=mail.example.jp"
    assert result.names == ("mail.example.jp", "pop.example.jp")
    assert result.not_after > "2026"
    assert result.cipher
    assert EndpointResult.from_json(result.to_json()).sha256 == pair.sha256
    assert "chain" not in result.to_json()


async def test_all_endpoints_at_once_in_the_order_given(xmail: XMail, pair: Pair) -> None:
    xmail.faults.greeting_delay_s = 0.2
    names = [*reversed(ENDPOINT_NAMES)]
    started = asyncio.get_running_loop().time()
    results = await probe_all("127.0.0.1", [Endpoint(name, xmail.ports[name]) for name in names])
    assert asyncio.get_running_loop().time() - started < 1
    assert [(result.name, result.sha256) for result in results] == [
        (name, pair.sha256) for name in names
    ]


@pytest.mark.parametrize("name", ENDPOINT_NAMES)
@pytest.mark.parametrize("fault", ["mismatch", "no key", "passphrase", "rsa1024"])
async def test_says_ready_then_drops(xmail: XMail, name: str, fault: str) -> None:
    good, locked, weak = make_pair(), make_pair(password=b"x"), make_pair(kind="rsa1024")
    key, certificate = {
        "mismatch": (make_pair().key, good.certificate),
        "no key": (None, good.certificate),
        "passphrase": (locked.key, locked.certificate),
        "rsa1024": (weak.key, weak.certificate),
    }[fault]
    write_pair(xmail.mailroot, key, certificate)
    result = await look(xmail, name)
    expected = "probe.dropped_at_once" if name in AT_ONCE else "probe.dropped_after_ready"
    assert (result.ok, result.stage, result.message.code) == (False, "handshake", expected)
    assert result.sha256 == ""


@pytest.mark.parametrize("name", ENDPOINT_NAMES)
@pytest.mark.parametrize(("drop", "code"), [("eof", "dropped"), ("hang", "silent_handshake")])
async def test_an_unusable_pair_may_also_end_or_hang(
    xmail: XMail, name: str, drop: str, code: str
) -> None:
    write_pair(xmail.mailroot, None, None)
    xmail.faults.drop = drop
    result = await look(xmail, name, timeout_s=0.3)
    assert (result.ok, result.stage) == (False, "handshake")
    assert result.message.code.startswith(f"probe.{code}")


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("smtp", "EnableSMTP-TLS"),
        ("submission", "EnableSMTP-TLS"),
        ("pop3", "EnablePOP3-TLS"),
    ],
)
async def test_tls_switched_off(xmail: XMail, name: str, setting: str) -> None:
    write_settings(xmail.mailroot, {setting: "0"})
    result = await look(xmail, name)
    assert (result.ok, result.stage, result.message.code) == (False, "command", "probe.tls_off")
    assert result.message.params["setting"] == setting
    assert result.xmail_version == "1.27"


def test_of_a_version_without_end_the_beginning_is_kept() -> None:
    channel = mock.Mock()
    _recognise(channel, "smtp", f"220 mail [XMail {'1' * 1900} ESMTP Server]")
    assert channel.xmail_version == "1" * 30


@pytest.mark.parametrize("name", AT_ONCE)
async def test_the_switches_of_server_tab_leave_immediate_tls_alone(
    xmail: XMail, name: str
) -> None:
    off = {f"Enable{service}-TLS": "0" for service in ("SMTP", "POP3", "CTRL")}
    write_settings(xmail.mailroot, off)
    assert (await look(xmail, name)).ok


@pytest.mark.parametrize("name", ENDPOINT_NAMES)
async def test_a_client_certificate_is_wanted(xmail: XMail, pair: Pair, name: str) -> None:
    write_settings(xmail.mailroot, {"SSLWantCert": "1"})
    result = await look(xmail, name)
    assert (result.ok, result.stage) == (False, "handshake")
    assert result.message.code == "probe.dropped_after_handshake"
    assert result.sha256 == pair.sha256  # what it serves is known all the same


@pytest.mark.parametrize("name", ENDPOINT_NAMES)
async def test_refused(xmail: XMail, name: str) -> None:
    xmail.refuse(name)
    result = await look(xmail, name)
    assert (result.ok, result.stage, result.message.code) == (False, "connect", "probe.refused")
    assert not result.reachable


async def test_switched_off_here() -> None:
    result = await probe("127.0.0.1", Endpoint("submission", DEFAULT_PORTS["submission"]))
    assert (result.ok, result.stage, result.message.code) == (False, "connect", "probe.off")


@pytest.mark.parametrize(
    ("stage", "reported", "code"),
    [
        ("connect", "banner", "probe.silent_banner"),
        ("greeting", "banner", "probe.silent_banner"),
        ("command", "command", "probe.silent_command"),
        ("ready", "command", "probe.silent_command"),
        ("handshake", "handshake", "probe.silent_handshake"),
    ],
)
@pytest.mark.parametrize("name", STARTTLS)
async def test_silence(xmail: XMail, name: str, stage: str, reported: str, code: str) -> None:
    xmail.faults.silent_at = stage
    result = await look(xmail, name, timeout_s=0.2)
    assert (result.ok, result.stage, result.message.code) == (False, reported, code)
    assert result.elapsed_ms < 1000


@pytest.mark.parametrize("name", AT_ONCE)
async def test_silence_around_an_immediate_handshake(xmail: XMail, pair: Pair, name: str) -> None:
    xmail.faults.silent_at = "connect"
    assert (await look(xmail, name, 0.2)).message.code == "probe.silent_handshake"
    xmail.faults.silent_at = "greeting"
    result = await look(xmail, name, 0.2)
    assert (result.ok, result.message.code) == (True, "probe.ok_silent")
    assert result.sha256 == pair.sha256


async def test_a_slow_trickle_ends_in_time(xmail: XMail) -> None:
    def trickle(sock: socket.socket) -> None:
        while not ended.wait(0.05):
            sock.sendall(b"2")

    ended = threading.Event()
    with server(trickle) as port:
        result = await probe("127.0.0.1", Endpoint("smtp", port), 0.3)
        ended.set()
    assert result.message.code == "probe.silent_banner"
    assert result.elapsed_ms < 1000


async def test_all_steps_together_have_an_end() -> None:
    channel = Channel(0.2)
    for _ in range(2):
        async with channel.step():
            await asyncio.sleep(0.15)
    with pytest.raises(TimeoutError):
        async with channel.step():
            await asyncio.sleep(0.15)


@pytest.mark.parametrize("name", ENDPOINT_NAMES)
async def test_cut_after_every_byte(xmail: XMail, pair: Pair, name: str) -> None:
    whole = await look(xmail, name)
    assert whole.ok
    for count in range(0, 240, 17):
        xmail.faults.cut_after_sent = count
        result = await look(xmail, name)
        assert result.ok or result.stage in {"banner", "command", "handshake"}
        assert result.sha256 in {"", pair.sha256}
        assert result.ok <= (count > 60)
    xmail.faults.cut_after_sent = None
    assert (await look(xmail, name)).ok


@pytest.mark.parametrize(
    ("name", "banner", "code"),
    [
        ("smtp", b"220 mx.example.jp ESMTP Postfix\r\n", "probe.not_xmail"),
        ("pop3", b"+OK Dovecot ready.\r\n", "probe.not_xmail"),
        ("smtp", b"220-mx\r\n220 ESMTP\r\n", "probe.not_xmail"),
        ("smtp", b"+OK XMail 1.27 POP3 Server\r\n", "probe.other_protocol"),
        ("pop3", b"SSH-2.0-OpenSSH_9.2\r\n", "probe.other_protocol"),
        ("smtp", b"421 Server does not like Your IP\r\n", "probe.turned_away"),
        ("pop3", b"-ERR Server does not like Your IP\r\n", "probe.turned_away"),
        ("smtp", b"2" * 5000, "probe.closed_at_banner"),
        ("smtp", b"220-again\r\n" * 500, "probe.closed_at_banner"),
        ("smtp", b"", "probe.silent_banner"),
    ],
)
async def test_no_xmail(name: str, banner: bytes, code: str) -> None:
    with server(saying(banner)) as port:
        result = await probe("127.0.0.1", Endpoint(name, port), 0.5)
    assert (result.ok, result.stage, result.message.code) == (False, "banner", code)
    assert spoken(result.message)


async def test_what_a_server_says_is_made_fit_to_be_shown() -> None:
    with server(saying(b"220 \x1b[31m<b>" + b"x" * 1000 + b"\r\n")) as port:
        result = await probe("127.0.0.1", Endpoint("smtp", port))
    shown = str(result.message.params["banner"])
    assert "\x1b" not in shown
    assert len(shown) < 130


async def test_starttls_refused_for_another_reason() -> None:
    def serve(sock: socket.socket) -> None:
        sock.sendall(b"220 x [XMail 1.27 ESMTP Server] service ready\r\n")
        sock.recv(100)
        sock.sendall(b"250-x\r\n250 SIZE\r\n")
        sock.recv(100)
        sock.sendall(b"454 TLS not available due to temporary reason\r\n")
        sock.recv(100)

    with server(serve) as port:
        result = await probe("127.0.0.1", Endpoint("smtp", port))
    assert (result.stage, result.message.code) == ("command", "probe.command_refused")
    assert "temporary" in str(result.message.params["reply"])


async def test_clear_text_where_tls_should_be(xmail: XMail) -> None:
    result = await probe("127.0.0.1", Endpoint("smtps", xmail.ports["smtp"]))
    assert (result.ok, result.stage, result.message.code) == (False, "handshake", "probe.not_tls")


async def test_a_server_does_not_choose_the_price_of_a_handshake(tmp_path: Path) -> None:
    """With DHE it makes up the group: a second of work, in which no other host is answered."""
    pair = make_pair(kind="rsa2048")
    mailroot = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)
    prime = (1 << 2047 | 1).to_bytes(257)
    group = b"\x30\x82\x01\x08\x02\x82\x01\x01" + prime + b"\x02\x01\x02"  # and generator 2
    armour = b"-----BEGIN DH PARAMETERS-----\n%b-----END DH PARAMETERS-----\n"
    (tmp_path / "group.pem").write_bytes(armour % encodebytes(group))
    context = tls_context(mailroot)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_dh_params(str(tmp_path / "group.pem"))

    def serve(sock: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
            tls.sendall(b"+OK [XMail 1.27 POP3 Server] service ready\r\n")
            tls.recv(100)

    for ciphers, code in (("kDHE:@SECLEVEL=0", "probe.tls_failed"), ("DEFAULT", "probe.ok")):
        context.set_ciphers(ciphers)
        with server(serve) as port:
            result = await probe("127.0.0.1", Endpoint("pop3s", port))
        assert result.message.code == code


async def test_an_answer_given_before_tls_does_not_pass_for_one_inside(
    tmp_path: Path, pair: Pair
) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)

    def serve(sock: socket.socket) -> None:
        sock.sendall(b"+OK [XMail 1.27 POP3 Server] service ready\r\n")
        sock.recv(100)
        sock.sendall(b"+OK Begin TLS negotiation\r\n+OK injected in clear\r\n")
        with tls_context(mailroot).wrap_socket(sock, server_side=True) as tls:
            while tls.recv(100):
                pass  # and no answer to anything

    with server(serve) as port:
        result = await probe("127.0.0.1", Endpoint("pop3", port), 0.5)
    assert (result.ok, result.message.code) == (True, "probe.ok_silent")


@pytest.mark.parametrize(
    ("address", "port", "code"),
    [
        ("no-such-host.invalid", 25, "probe.unresolved"),
        ("a" * 70 + ".example", 25, "probe.unresolved"),
        ("127.0.0.1", 70_000, "probe.unreachable"),
        ("255.255.255.255", 25, "probe.unreachable"),
    ],
)
async def test_addresses_that_lead_nowhere(address: str, port: int, code: str) -> None:
    result = await probe(address, Endpoint("smtp", port), 5)
    assert (result.ok, result.stage, result.message.code) == (False, "connect", code)
    assert spoken(result.message)


async def test_unreachable_host_is_told_in_the_systems_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_route(_channel: Channel, _family: int, sockaddr: tuple[object, ...]) -> None:
        raise OSError(errno.EHOSTUNREACH, f"Connect call failed {sockaddr}")

    monkeypatch.setattr(Channel, "connect", no_route)
    result = await probe("192.0.2.1", Endpoint("smtp", 25), 5)
    assert result.message.code == "probe.unreachable"
    assert result.message.params["reason"] == os.strerror(errno.EHOSTUNREACH)


async def test_nothing_answers() -> None:
    with socket.socket() as full:  # a listener with no room: the kernel drops what comes
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        result = await probe("127.0.0.1", Endpoint("smtp", full.getsockname()[1]), 0.2)
        for filler in fillers:
            filler.close()
    assert (result.stage, result.message.code) == ("connect", "probe.no_answer")


async def test_many_probes_at_once_are_cheap(tmp_path: Path, pair: Pair) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)
    with XMail(mailroot, services=["pop3s"], faults=Faults(greeting_delay_s=0.1)) as xmail:
        endpoints = [Endpoint("pop3s", xmail.ports["pop3s"])] * 100
        results = await probe_all("127.0.0.1", endpoints)
    assert {result.sha256 for result in results} == {pair.sha256}
    assert max(result.elapsed_ms for result in results) < 5000
