"""The whole portal in one process: web server, Celery worker and ticker.

The web server runs in the main thread, which the signals reach. The worker consumes the in-memory
broker in a thread pool, and the ticker (Celery beat) sends it the sweep and the schedules.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from typing import Any

import uvicorn
from celery.beat import Service
from celery.worker import WorkController
from django.utils import timezone

from hosts import ledger
from hosts.ticker import Ticker
from xmailadmin.celery import app
from xmailadmin.connections import HANDSHAKE_S, MOST_SERVED, Connection, Listener
from xmailadmin.descriptors import raise_limit
from xmailadmin.home import HomeError
from xmailadmin.tls import OwnPair, own_pair, split_bind

__all__ = ["Portal", "Web", "listen"]

logger = logging.getLogger(__name__)

WORKERS = 4  # threads: a chunk of hosts takes one, whatever its size
TICKS_A_DAY = 864_000  # uvicorn's
STOP_S = 25  # within which a stop must be done, so that a supervisor need not kill


def listen(bind: str) -> socket.socket:
    """Returns a socket that listens at `bind` (ADDRESS:PORT). Raises HomeError if it cannot."""
    host, port = split_bind(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = Listener(family, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen(128)
    except OSError as error:
        server.close()
        raise HomeError(
            f"cannot listen at {bind}: {error.strerror}. "
            "Stop what listens there, or set XMAILADMIN_BIND to another ADDRESS:PORT."
        ) from None
    return server


class Portal:
    """Serves until a signal comes, then finishes or hands over what is running."""

    def __init__(self, server: socket.socket, own: OwnPair | None = None) -> None:
        self._socket = server
        self._own = own
        self._worker = WorkController(
            app=app,
            pool_cls="threads",
            concurrency=WORKERS,
            loglevel="WARNING",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            send_events=False,
        )
        self._ticker = Service(app, max_interval=5, scheduler_cls=Ticker)

    def serve(self) -> None:
        """Blocks until SIGINT or SIGTERM, and returns when all work is finished or handed over."""
        raise_limit()
        worker = threading.Thread(target=self._worker.start, name="worker", daemon=True)
        ticker = threading.Thread(target=self._ticker.start, name="ticker", daemon=True)
        worker.start()
        ticker.start()
        Web(self._own).run(sockets=[self._socket])
        self._ticker.stop()
        self._worker.stop()
        worker.join(STOP_S)  # the ticker only sleeps, and ends with the process


class Web(uvicorn.Server):
    """The web server, in this thread, until a signal comes; by HTTPS with a pair of our own."""

    def __init__(self, own: OwnPair | None = None) -> None:
        self._own = own
        super().__init__(
            uvicorn.Config(
                "xmailadmin.asgi:application",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # xmailadmin/proxies.py knows whom to believe
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=3,
                timeout_keep_alive=5,
                limit_concurrency=MOST_SERVED,
                h11_max_incomplete_event_size=64 * 1024,
                ssl_keyfile=own.key if own else None,
                ssl_certfile=own.certificate if own else None,
                ssl_ciphers="ECDHE+AESGCM:ECDHE+CHACHA20",  # and those of TLS 1.3
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, but with a time limit of our own for TLS handshakes."""
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return Connection(self.config, self.server_state, self.lifespan.state)

        self.servers = [
            await loop.create_server(
                protocol,
                sock=each,
                ssl=self.config.ssl,
                ssl_handshake_timeout=HANDSHAKE_S if self.config.ssl else None,
                backlog=self.config.backlog,
            )
            for each in sockets or []
        ]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Once a day, a portal that runs for a year renews its pair in time."""
        if self._own and self.config.ssl and counter == TICKS_A_DAY - 1:
            self._renew(self._own, self.config.ssl)
        return await super().on_tick(counter)

    def _renew(self, own: OwnPair, context: ssl.SSLContext) -> None:
        try:
            self._own = own_pair(timezone.now())
        except HomeError as error:
            logger.error("The portal's own pair is not renewed: %s", error)
            return
        if self._own.sha256 != own.sha256:
            context.load_cert_chain(self._own.certificate, self._own.key)
            logger.warning("The portal has a new pair: SHA-256 %s", self._own.fingerprint)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stops in order; uvicorn's own way would raise the signal again afterwards."""
        # Told before the web server drains, so that hosts in hand get all of the time there is.
        ledger.stop()
        self.force_exit = self.should_exit
        self.should_exit = True
