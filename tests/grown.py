"""The portal as it runs when it has grown: PostgreSQL, Redis, web server, workers and tickers, each
a process of its own that a test may kill, freeze and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import redis

from tests import servers
from tests.portal import CHECKOUT, Portal

BIN = Path(sys.executable).parent


@dataclass
class Part:
    """One server or process of the portal; it may be started again after it has ended."""

    command: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] | None = None
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=CHECKOUT if self.user is None else self.log.parent,
                env=self.environment,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        servers.wait_until_ready(self.process, self.log, self.ready)

    def signal(self, number: int) -> None:
        """Sends a signal to the process and everything that it has started."""
        assert self.process is not None
        for pid in _family(self.process.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # it ended meanwhile

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> int | None:
        """Ends it in order and returns its exit status; None if it did not run."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.thaw()
        return servers.stop(self.process, self.stop_signal)


def _family(pid: int) -> list[int]:
    """Returns the process and all below it, the process itself first."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


@dataclass
class Grown(Portal):
    """A portal in parts. `workers` and `tickers` grow as more are started."""

    postgres: Part = field(kw_only=True)
    redis: Part = field(kw_only=True)
    database_url: str = field(kw_only=True)
    redis_url: str = field(kw_only=True)
    workers: list[Part] = field(default_factory=list)
    tickers: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.extra_environment = {
            **self.extra_environment,
            "DATABASE_URL": self.database_url,
            "CELERY_BROKER_URL": self.redis_url,
        }
        self.web = self._part("web", [sys.executable, str(CHECKOUT / "manage.py"), "web"])
        self.web.ready = lambda: self.health("/healthz") == 200

    def start(self, *, workers: int = 2, tickers: int = 1) -> None:
        """Prepares the database and starts every part of the portal."""
        self.manage("prepare")
        self.web.start()
        for _ in range(workers):
            self.add_worker()
        for _ in range(tickers):
            self.add_ticker()

    def stop(self) -> None:
        for part in (*self.tickers, *self.workers, self.web):
            part.stop()

    def add_worker(self, *options: str, **environment: str) -> Part:
        number = len(self.workers) + 1
        name = f"worker{number}"
        worker = self._celery(name, "worker", "--hostname", f"{name}@%h", *options, **environment)
        self.workers.append(worker)
        return worker

    def add_ticker(self, **environment: str) -> Part:
        ticker = self._celery(f"ticker{len(self.tickers) + 1}", "beat", **environment)
        self.tickers.append(ticker)
        return ticker

    def health(self, path: str) -> int:
        try:
            return self.status(path)
        except OSError:
            return 0

    def rows(self, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """Returns the rows that a query of the database finds."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query, values).fetchall()

    def _celery(self, name: str, *words: str, **environment: str) -> Part:
        part = self._part(name, [str(BIN / "celery"), "-A", "xmailadmin", *words], environment)
        part.ready = lambda: "celery" in part.log.read_text()  # its banner
        part.start()
        return part

    def _part(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Part:
        log = self.home.parent / f"{self.home.name}-{name}.log"
        return Part(command, log, lambda: True, {**self.environment, **(environment or {})})

    def logs(self) -> str:
        """Everything that the parts have written."""
        found = sorted(self.home.parent.glob(f"{self.home.name}-*.log"))
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')}" for path in found)


@contextmanager
def grown(directory: Path, *, extra: Mapping[str, str] | None = None) -> Iterator[Grown]:
    """Yields a portal whose PostgreSQL and Redis run, with none of its own parts started."""
    program = servers.find_program("redis-server")
    port = servers.free_port()
    url = f"redis://127.0.0.1:{port}/0"
    (directory / "redis").mkdir(parents=True)

    def redis_answers() -> bool:
        try:
            with redis.Redis.from_url(url, socket_timeout=1) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    broker = Part(
        [
            program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(directory / "redis"),
        ],
        directory / "redis.log",
        redis_answers,
    )  # fmt: skip
    with servers.postgres_cluster() as cluster, ExitStack() as stack:
        database = Part(
            cluster.command,
            cluster.log,
            cluster.answers,
            user=cluster.user,
            stop_signal=signal.SIGINT,
        )
        stack.callback(database.stop)
        database.start()
        stack.callback(broker.stop)
        broker.start()
        portal = Grown(
            directory / "portal",
            extra or {},
            postgres=database,
            redis=broker,
            database_url=cluster.create_database("xmailadmin"),
            redis_url=url,
        )
        stack.callback(portal.stop)
        yield portal
