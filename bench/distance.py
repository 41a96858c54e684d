"""A longer way to a server: a proxy that holds back what it passes on, in a process of its own."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bench.elsewhere import elsewhere


@contextmanager
def distant(port: int, one_way_s: float) -> Iterator[int]:
    """Yields a port behind which the server at `port` seems `one_way_s` away in each direction.

    Order is kept and nothing bounds how much is under way, as on a fast long line.
    """
    with elsewhere("bench.distance", {"port": port, "one_way_s": one_way_s}) as answer:
        yield int(answer)


@contextmanager
def serve(request: dict[str, Any]) -> Iterator[int]:
    """The helper: answers with its port."""
    port: int = request["port"]
    delay: float = request["one_way_s"]
    ready: queue.SimpleQueue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]]
    ready = queue.SimpleQueue()

    async def meet(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # at the end there may be idle connections
            await asyncio.sleep(2 * delay)  # a connection is not there before its SYN is answered
            server, to_server = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_carry(client, to_server, delay), _carry(server, to_client, delay))

    async def run() -> None:
        enough = asyncio.Event()
        server = await asyncio.start_server(meet, "127.0.0.1", 0, backlog=1024)
        ready.put((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), enough))
        await enough.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    own_port, loop, enough = ready.get()
    try:
        yield own_port
    finally:
        loop.call_soon_threadsafe(enough.set)
        thread.join(5)


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    """Passes everything on, each piece `delay` seconds after it came."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        data = b"-"
        while data:
            try:
                data = await source.read(65536)
            except OSError:
                data = b""
            under_way.put_nowait((loop.time() + delay, data))

    reading = asyncio.create_task(read())
    with suppress(OSError):
        while True:
            due, data = await under_way.get()
            if (left := due - loop.time()) > 0:
                await asyncio.sleep(left)
            if not data:
                break
            target.write(data)
    target.close()
    await reading
