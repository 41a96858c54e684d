"""However many connections are opened and kept, others are served, and the work has its files."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.doubles.pairs import make_pair
from tests.portal import Portal
from xmailadmin import connections
from xmailadmin.connections import Connection, Listener


@pytest.mark.slow
def test_idle_connections_take_neither_the_files_nor_the_pages(portal: Portal) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with ExitStack() as kept:
            for _ in range(1_000):
                kept.enter_context(socket.create_connection(("127.0.0.1", portal.port)))
            assert open_files(portal) < connections.MOST + 60
            deadline = time.monotonic() + 40
            while not served(portal) and time.monotonic() < deadline:
                time.sleep(0.5)
            assert served(portal)
            assert open_files(portal) < 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Traceback" not in portal.log.read_text()


def open_files(portal: Portal) -> int:
    pids = [pid for pid in Path("/proc").glob("[0-9]*") if home_of(pid) == str(portal.home)]
    return max(len(list((pid / "fd").iterdir())) for pid in pids)


def home_of(pid: Path) -> str:
    with suppress(OSError):
        environment = (pid / "environ").read_bytes().split(b"\0")
        for each in environment:
            if each.startswith(b"XMAILADMIN_HOME="):
                return each.partition(b"=")[2].decode()
    return ""


def served(portal: Portal) -> bool:
    with suppress(OSError):
        return portal.status("/healthz") == 200
    return False


async def application(scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(0.5)  # longer than anybody may take to ask
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


async def answer_to(*pieces: bytes, gap_s: float = 0) -> bytes:
    """What comes back on one connection to which these are sent."""
    config = uvicorn.Config(application, log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(config, state, {}), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(gap_s)
        answer = b""
        with suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_S", {h11.IDLE: 0.3, h11.SEND_BODY: 0.4})


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize(
    "pieces", [[], [HEAD[:20]], [HEAD], [HEAD, b"ab"], [HEAD[:9], *(b"x" * 30)]]
)
async def test_who_never_finishes_a_request_is_cut_off(pieces: list[Any]) -> None:
    sent = [piece if isinstance(piece, bytes) else bytes([piece]) for piece in pieces]
    began = time.monotonic()
    assert await answer_to(*sent, gap_s=0.03) == b""
    assert time.monotonic() - began < 4


@pytest.mark.usefixtures("_hurried")
async def test_who_waits_for_an_answer_is_not() -> None:
    assert b"done" in await answer_to(HEAD[:20], HEAD[20:], b"ab", b"cd", gap_s=0.05)


@pytest.mark.usefixtures("_hurried")
async def test_a_second_request_that_is_never_finished_is_cut_off_too() -> None:
    whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = await answer_to(whole, whole[:10], gap_s=0.7)
    assert answer.count(b"200 OK") == 1


async def test_tls_messages_without_any_request_end_the_connection() -> None:
    connection = Connection(uvicorn.Config(application, log_config=None), ServerState(), {})
    tls, transport = SimpleNamespace(buffer_updated=Mock()), Mock()
    transport._ssl_protocol = tls
    connection.connection_made(transport)
    for _ in range(connections.MOST_IN_VAIN // 16_384):
        tls.buffer_updated(16_384)
    transport.abort.assert_not_called()
    connection.data_received(b"GET / HT")
    tls.buffer_updated(16_384)
    transport.abort.assert_not_called()
    for _ in range(connections.MOST_IN_VAIN // 16_384):
        tls.buffer_updated(16_384)
    transport.abort.assert_called()
    connection.connection_lost(None)


async def test_a_body_that_is_taken_slowly_is_not_in_vain(tmp_path: Path) -> None:
    """Nothing is read for a while once 64 kB of it are there."""

    async def late(_scope: Any, receive: Any, send: Any) -> None:
        length, more = 0, True
        while more:
            await asyncio.sleep(0.1 if length < 300_000 else 0)
            message = await receive()
            length, more = length + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % length})

    pair, file = make_pair(), tmp_path / "pair.pem"
    file.write_bytes(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    config, state = uvicorn.Config(late, log_config=None), ServerState()
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(config, state, {}), "127.0.0.1", 0, ssl=context
    )
    async with server:
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address, ssl=trusting)
        writer.write(HEAD.replace(b"Length: 4", b"Length: 900000") + b"x" * 900_000)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert b"900000" in answer


def test_a_connection_that_ended_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST", 1)
    with Listener(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        with ExitStack() as clients:
            for _ in range(3):
                clients.enter_context(socket.create_connection(address))
            first, _ = listener.accept()
            with pytest.raises(ConnectionAbortedError):
                listener.accept()
            first.close()
            listener.accept()[0].close()


def test_who_never_reads_an_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 1.0)
    with Listener(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            accepted.settimeout(20)
            with accepted, pytest.raises(TimeoutError, match="Connection timed out"):
                accepted.sendall(bytes(64 * 1024 * 1024))
