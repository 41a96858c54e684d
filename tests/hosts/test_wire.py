"""The connection under CTRL and the probe, over real sockets, in clear and inside TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hosts import wire
from hosts.wire import Wire
from tests.doubles.pairs import make_pair


@pytest.fixture
async def both_ends() -> AsyncIterator[tuple[Wire, socket.socket]]:
    """A connected wire, and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = Wire()
        await here.connect(socket.AF_INET, listener.getsockname())
        there, _address = listener.accept()
        with there:
            yield here, there
        here.close()


async def test_lines_come_one_by_one_however_they_arrive(
    both_ends: tuple[Wire, socket.socket],
) -> None:
    here, there = both_ends
    there.sendall(b"+00000 one\r\n+00100 t")
    assert await here.line(100) == b"+00000 one"
    there.sendall(b"wo\nfirst\r\n..second\r\n.")
    assert await here.line(100) == b"+00100 two"
    waiting = asyncio.ensure_future(here.block())
    await asyncio.sleep(0)
    there.sendall(b"\r\nnext\r\n")
    assert await waiting == b"first\r\n..second\r\n"
    assert await here.line(100) == b"next"


async def test_what_came_before_the_end_is_still_read(
    both_ends: tuple[Wire, socket.socket],
) -> None:
    here, there = both_ends
    there.sendall(b"last word\r\nhalf a li")
    there.close()
    assert await here.line(100) == b"last word"
    with pytest.raises(EOFError):
        await here.line(100)
    with pytest.raises(EOFError):
        await here.line(100)


async def test_a_line_without_end_is_given_up(both_ends: tuple[Wire, socket.socket]) -> None:
    here, there = both_ends
    there.sendall(b"x" * 200)
    with pytest.raises(EOFError):
        await here.line(100)


async def test_a_flood_that_nobody_reads_is_left_to_the_sender(
    both_ends: tuple[Wire, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much a server sends, only a bounded part of it is kept here."""
    monkeypatch.setattr(wire, "MAX_BLOCK", 100_000)
    here, there = both_ends
    await flood(there, b"y" * 20_000_000)
    with pytest.raises(EOFError):
        await here.block()


async def flood(there: socket.socket, data: bytes) -> None:
    """Sends until nobody takes any more, and both kernels' buffers are full, too."""
    there.setblocking(False)
    while data:
        await asyncio.sleep(0.005)
        try:
            data = data[there.send(data[:100_000]) :]
        except BlockingIOError:
            return
    pytest.fail("everything that was sent was taken")


async def test_a_closed_wire_says_so(both_ends: tuple[Wire, socket.socket]) -> None:
    here, _there = both_ends
    here.close()
    with pytest.raises(EOFError):
        here.send(b"too late\r\n")
    with pytest.raises(EOFError):
        await here.line(100)


# --- Inside TLS -------------------------------------------------------------------------------


class Server:
    """The server's end. What it says leaves when it is told to, in one piece."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.context = context
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self) -> None:
        """Does its part of the handshake; the last of it has not left yet."""
        while True:
            try:
                return self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.leave()
                self._incoming.write(self.sock.recv(65_536))

    def say(self, data: bytes) -> None:
        self._tls.write(data)

    def say_goodbye(self) -> None:
        """close_notify; the connection itself stays."""
        with contextlib.suppress(ssl.SSLWantReadError):  # for that of the other end
            self._tls.unwrap()

    def sealed(self) -> bytes:
        return self._outgoing.read()

    def leave(self) -> None:
        self.sock.sendall(self.sealed())


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def server(
    request: pytest.FixtureRequest, both_ends: tuple[Wire, socket.socket], tmp_path: Path
) -> Server:
    pair = make_pair()
    (tmp_path / "both.pem").write_bytes(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    context.minimum_version = context.maximum_version = request.param
    return Server(both_ends[1], context)


async def secured(here: Wire, server: Server, greeting: bytes = b"") -> None:
    """Both ends are inside TLS; the greeting comes in one piece with the end of the handshake."""
    shaking = asyncio.ensure_future(here.handshake(wire.accepting_any()))
    await asyncio.to_thread(server.shake_hands)
    server.say(greeting)
    server.leave()
    await shaking


async def test_what_comes_with_the_end_of_the_handshake_is_read(
    both_ends: tuple[Wire, socket.socket], server: Server
) -> None:
    here, _there = both_ends
    await secured(here, server, b"+00000 one\r\n+00100 t")
    assert await here.line(100) == b"+00000 one"
    waiting = asyncio.ensure_future(here.line(100))
    server.say(b"wo\r\n")
    for at in server.sealed():  # a record is not read before its last byte
        await asyncio.sleep(0)
        assert not waiting.done()
        server.sock.sendall(bytes([at]))
    assert await waiting == b"+00100 two"


async def test_what_was_said_in_clear_does_not_pass_for_an_answer_inside_tls(
    both_ends: tuple[Wire, socket.socket], server: Server
) -> None:
    here, there = both_ends
    there.sendall(b"220 ready\r\n250 from somebody in between\r\n")
    assert await here.line(100) == b"220 ready"
    await secured(here, server, b"250 from the server\r\n")
    assert await here.line(100) == b"250 from the server"


async def test_a_goodbye_inside_tls_ends_what_can_be_read(
    both_ends: tuple[Wire, socket.socket], server: Server
) -> None:
    here, _there = both_ends
    await secured(here, server, b"last word\r\nhalf a li")
    server.say_goodbye()
    server.leave()
    assert await here.line(100) == b"last word"
    for _ in range(2):
        with pytest.raises(EOFError):
            await here.line(100)


async def test_a_connection_cut_inside_a_record_ends_what_can_be_read(
    both_ends: tuple[Wire, socket.socket], server: Server
) -> None:
    here, there = both_ends
    await secured(here, server, b"last word\r\n")
    server.say(b"never read\r\n")
    there.sendall(server.sealed()[:-1])
    there.close()
    assert await here.line(100) == b"last word"
    with pytest.raises((EOFError, OSError)):
        await here.line(100)


async def test_a_flood_inside_tls_is_left_to_the_sender_too(
    both_ends: tuple[Wire, socket.socket], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_BLOCK", 100_000)
    here, there = both_ends
    await secured(here, server)
    server.say(b"y" * 20_000_000)
    await flood(there, server.sealed())
    with pytest.raises(EOFError):
        await here.block()


async def test_messages_that_carry_nothing_end_the_session_and_come_in_pieces(
    both_ends: tuple[Wire, socket.socket], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL works through all the tickets, or key updates, that it is given before it answers."""
    if server.context.minimum_version == ssl.TLSVersion.TLSv1_2:
        pytest.skip("has neither")
    here, there = both_ends
    server.context.num_tickets = 5000
    server = Server(there, server.context)
    shaking = asyncio.ensure_future(here.handshake(wire.accepting_any()))
    await asyncio.to_thread(server.shake_hands)
    tickets = server.sealed()
    assert len(tickets) > 1_000_000
    there.sendall(tickets[:100])
    await shaking
    given, give = [], here._give

    def noted(piece: bytes) -> None:
        given.append(here._incoming.pending + len(piece))
        give(piece)

    monkeypatch.setattr(here, "_give", noted)
    with contextlib.suppress(OSError):  # the wire is closed long before the end of it
        sending = asyncio.create_task(asyncio.to_thread(there.sendall, tickets[100:]))
        with pytest.raises(EOFError):
            await here.line(100)
        here.close()
        await sending
    assert max(given) <= 16 * 1024
    assert sum(given) <= 300_000


async def test_a_server_that_sends_byte_by_byte_is_read_to_the_end(
    both_ends: tuple[Wire, socket.socket], server: Server
) -> None:
    here, _there = both_ends
    await secured(here, server)
    for _ in range(30_000):
        server.say(b"a")
    server.say(b"\r\n.\r\n")
    data = server.sealed()
    assert len(data) > 2 * wire.MOST_IN_VAIN
    sending = asyncio.create_task(asyncio.to_thread(server.sock.sendall, data))
    assert await here.block() == b"a" * 30_000 + b"\r\n"
    await sending
