"""Real servers that tests talk to: each a process of its own on a free loopback port.

Every context manager here starts one server, yields where it answers, and ends it by its process
id. Where the program is not installed, `missing` skips the test, or fails it on CI.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import asyncssh
import psycopg
import pytest
import redis

READY_WITHIN_S = 30
STOPS_WITHIN_S = 30


def missing(reason: str) -> NoReturn:
    """Skips the test that lacks something this machine does not have; on CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI=true: nothing may be missing; see tests/install-packages.sh)")
    pytest.skip(reason)


def find_program(name: str, *directories: str) -> str:
    """Returns the path of a program, or leaves the test through `missing`."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *directories])
    return shutil.which(name, path=path) or missing(f"{name} is not installed")


def free_port() -> int:
    """Returns a loopback port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_ready(
    process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]
) -> None:
    """Returns once `ready()` holds.

    Raises RuntimeError with the server's log if it ends first or takes too long.
    """
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if ready():
            return
        time.sleep(0.02)
    ended = f"ended with {process.returncode}" if process.returncode is not None else "is not ready"
    raise RuntimeError(f"{process.args!r} {ended}:\n{log.read_text(errors='replace')}")


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Ends the process and returns its exit status; one that does not listen is killed."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    *,
    user: str | None = None,
    number: int = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the command from when it is ready until the block ends; its output goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=environment,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
    try:
        wait_until_ready(process, log, ready)
        yield process
    finally:
        stop(process, number)


@contextmanager
def redis_server(directory: Path, port: int | None = None) -> Iterator[str]:
    """Runs a Redis that keeps nothing on disk, and yields its URL."""
    program = find_program("redis-server")
    port = port or free_port()
    url = f"redis://127.0.0.1:{port}/0"
    options = {
        "--bind": "127.0.0.1",
        "--port": str(port),
        "--dir": str(directory),
        "--save": "",
        "--appendonly": "no",
        "--daemonize": "no",
    }
    command = [program, *(word for option in options.items() for word in option)]

    def ready() -> bool:
        try:
            with redis.Redis.from_url(url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    with running(command, directory / "redis.log", ready):
        yield url


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL cluster on disk, how its server is started, and where it then answers."""

    command: Sequence[str]
    log: Path
    user: str | None
    address: str  # user:password@host:port

    def url(self, database: str) -> str:
        return f"postgres://{self.address}/{database}"

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> str:
        """Makes an empty database and returns its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)


@contextmanager
def postgres_cluster() -> Iterator[Cluster]:
    """Makes a new PostgreSQL cluster, which the caller starts, and removes it at the end.

    PostgreSQL refuses to run as root; there it runs as the user that its package made.
    """
    programs = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    postgres, initdb = (find_program(name, *programs) for name in ("postgres", "initdb"))
    user = None if os.geteuid() else "postgres"
    password = secrets.token_urlsafe(24)
    port = free_port()
    # Below the temporary directory itself, since only root may enter pytest's own.
    directory = Path(tempfile.mkdtemp(prefix="xmailadmin-postgres-"))
    try:
        password_file = directory / "password"
        password_file.write_text(password)
        if user:
            shutil.chown(directory, user, user)
            shutil.chown(password_file, user, user)
        data = directory / "data"
        subprocess.run(
            [
                *(initdb, "--pgdata", str(data), "--pwfile", str(password_file)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
                *("--username", "xmailadmin", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=directory,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
        # A test's data need not survive a power cut.
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(directory),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        command = [postgres, "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        address = f"xmailadmin:{password}@127.0.0.1:{port}"
        yield Cluster(command, directory / "postgres.log", user, address)
    finally:
        shutil.rmtree(directory)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Runs a new PostgreSQL cluster, and yields the URL of an empty database in it."""
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave.
    with (
        postgres_cluster() as cluster,
        running(
            cluster.command,
            cluster.log,
            cluster.answers,
            user=cluster.user,
            number=signal.SIGINT,
        ),
    ):
        yield cluster.create_database("xmailadmin")


@dataclass(frozen=True)
class SSHServer:
    """Where an OpenSSH server answers, and what logs in there as the user running the tests."""

    port: int
    user: str
    host_key: asyncssh.SSHKey
    client_key: asyncssh.SSHKey

    @property
    def known_hosts(self) -> tuple[list[asyncssh.SSHKey], list[str], list[str]]:
        """What asyncssh must be given to accept this server and no other."""
        return [self.host_key.convert_to_public()], [], []


@contextmanager
def ssh_server(directory: Path) -> Iterator[SSHServer]:
    """Runs an OpenSSH server with SFTP and a host key of its own."""
    program = find_program("sshd", "/usr/sbin")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's jail, which its service makes
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    client_key = asyncssh.generate_private_key("ssh-ed25519")
    host_key.write_private_key(directory / "host_key")
    (directory / "host_key").chmod(0o600)
    client_key.write_public_key(directory / "authorized_keys")
    port = free_port()
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": directory / "host_key",
        "AuthorizedKeysFile": directory / "authorized_keys",
        "PidFile": "none",
        "StrictModes": "no",
        # What the start-up files of this account do is neither tested nor measured.
        "SetEnv": f"HOME={directory}",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "MaxStartups": "1000",
        "Subsystem": "sftp internal-sftp",
    }
    config = directory / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))

    def ready() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    with running([program, "-D", "-e", "-f", str(config)], directory / "sshd.log", ready):
        yield SSHServer(port, getpass.getuser(), host_key, client_key)
