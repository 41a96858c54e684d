"""The connection under CTRL and the probe, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from hosts import wire
from hosts.wire import Wire


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
    there.setblocking(False)
    sent = 0
    for _ in range(200):  # until both kernels' buffers are full, too
        await asyncio.sleep(0.005)
        try:
            sent += there.send(b"y" * 100_000)
        except BlockingIOError:
            break
    else:
        pytest.fail("everything that was sent was taken")
    with pytest.raises(EOFError):
        await here.block()


async def test_a_closed_wire_says_so(both_ends: tuple[Wire, socket.socket]) -> None:
    here, _there = both_ends
    here.close()
    with pytest.raises(EOFError):
        here.send(b"too late\r\n")
    with pytest.raises(EOFError):
        await here.line(100)
