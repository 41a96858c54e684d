"""Connections to SSH servers whose host key was registered, perhaps through a jump host."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncssh

from hosts.messages import Message, Param, system_reason
from hosts.transports.base import (
    Credential,
    Target,
    TransportError,
    normal_fingerprint,
    openssh_fingerprint,
)
from hosts.transports.ssh_key import check_cost, open_key

PORT = 22
CONNECT_TIMEOUT_S = 10.0
LOGIN_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 2.0
#: asyncssh works through all that came in before anybody else has a turn, and a server can send
#: thousands of packets that are to be ignored. Bytes; the kernel doubles them.
RECEIVED_AT_ONCE = 16 * 1024
#: What asyncssh raises, beside its own errors, when it makes something of what a server has sent
#: and cannot: it checks the form of packets only in part.
NONSENSE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)

#: Cheap and sound first: a post-quantum exchange costs tens of milliseconds a connection, and what
#: an eavesdropper keeps today, a mail server's key, will have been replaced long before.
KEY_EXCHANGES = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
)
#: What costs least a packet comes first.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
)
#: One family after the other is asked for until the server shows the key that was registered.
HOST_KEYS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
_JUMP = re.compile(
    r"(?P<user>[^@\s\x00-\x1f]+)@(?P<host>\[[^\]\s]+\]|[^:\s]+)(?::(?P<port>\d{1,5}))?"
    r"(?:\s+(?P<fingerprint>\S+))?"
)

logger = logging.getLogger(__name__)

Locate = Callable[[str], Awaitable[str]]


@dataclass(frozen=True)
class _Server:
    """One SSH server to log in to; without a fingerprint no password is sent to it."""

    address: str
    port: int
    user: str
    fingerprint: str


class _Client(asyncssh.SSHClient):
    """Accepts the one host key that was registered, and notes what it met."""

    def __init__(self, accepted: str | None) -> None:
        self.accepted = accepted
        self.met = ""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        sock = conn.get_extra_info("socket")
        if sock is not None:  # through a jump host there is none of its own
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_AT_ONCE)

    @property
    def recognised(self) -> bool:
        """Whether the server has shown the key that it should."""
        return bool(self.met) and self.accepted in {None, self.met}

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        self.met = normal_fingerprint(key.get_fingerprint("sha256"))
        return self.recognised


def check_enrolled(target: Target) -> None:
    """Raises TransportError if no host key was registered."""
    if not target.trust_fingerprint:
        raise TransportError(Message("ssh.no_fingerprint"), permanent=True)


async def connect(target: Target, locate: Locate) -> list[asyncssh.SSHClientConnection]:
    """Logged-in connections, the jump host's first and the target's last."""
    keys = await _client_keys(target.credential)
    server = _Server(
        target.address,
        target.port or PORT,
        target.user,
        normal_fingerprint(target.trust_fingerprint),
    )
    connections: list[asyncssh.SSHClientConnection] = []
    try:
        async with _Errors(server), asyncio.timeout(LOGIN_TIMEOUT_S):
            address = await _located(target, locate)
            tunnel = await _tunnel(target, locate, keys, connections)
            server = _Server(address, server.port, server.user, server.fingerprint)
            connections.append(await _log_in(server, target.credential, keys, tunnel))
    except BaseException:
        await close(connections)
        raise
    return connections


async def scan(target: Target, locate: Locate) -> str:
    """The SHA-256 of the host key that the server shows; logs in nowhere but on a jump host.

    Of several keys it is the trusted one, if that is among them.
    """
    connections: list[asyncssh.SSHClientConnection] = []
    trusted = normal_fingerprint(target.trust_fingerprint)
    try:
        address = await _located(target, locate)
        keys = await _client_keys(target.credential) if target.jump else []
        tunnel = await _tunnel(target, locate, keys, connections)
        server = _Server(address, target.port or PORT, target.user, "")
        met = await _shown(server, [name for family in HOST_KEYS for name in family], tunnel)
        for family in HOST_KEYS if trusted not in {"", met} else ():
            try:
                if await _shown(server, family, tunnel) == trusted:
                    return trusted
            except TransportError:  # it has no key of this family
                continue
        return met
    finally:
        await close(connections)


async def _shown(
    server: _Server, algorithms: Sequence[str], tunnel: asyncssh.SSHClientConnection | None
) -> str:
    """The SHA-256 of the first key of these kinds that the server has."""
    async with _Errors(server):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            key = await asyncssh.get_server_host_key(
                server.address,
                server.port,
                tunnel=tunnel or (),
                config=None,
                kex_algs=list(KEY_EXCHANGES),
                server_host_key_algs=list(algorithms),
            )
    await asyncio.sleep(0)  # the connection was aborted; its socket closes in the next turn
    return normal_fingerprint(key.get_fingerprint("sha256")) if key else ""


async def _tunnel(
    target: Target,
    locate: Locate,
    keys: list[asyncssh.SSHKey],
    connections: list[asyncssh.SSHClientConnection],
) -> asyncssh.SSHClientConnection | None:
    """A connection to the jump host, which is added to the others; None without one."""
    if not target.jump:
        return None
    jump = parse_jump(target.jump)
    jump = _Server(await locate(jump.address), jump.port, jump.user, jump.fingerprint)
    try:
        async with _Errors(jump), asyncio.timeout(LOGIN_TIMEOUT_S):
            tunnel = await _log_in(jump, target.credential, keys, None)
    except TransportError as error:
        if error.message.code != "ssh.wrong_host_key":
            raise
        # Not as `met`, which is what people are asked to trust as the host's own.
        shown, expected = error.message.params["met"], error.message.params["expected"]
        params: dict[str, Param] = {"address": jump.address, "shown": shown, "expected": expected}
        raise TransportError(Message("ssh.wrong_jump_key", params), permanent=True) from None
    connections.append(tunnel)
    return tunnel


async def close(connections: Sequence[asyncssh.SSHClientConnection]) -> None:
    """Close the connections, the last one first; never raises."""
    for connection in reversed(connections):
        connection.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await connection.wait_closed()
        except (TimeoutError, OSError, asyncssh.Error):
            connection.abort()


def identity_of(connection: asyncssh.SSHClientConnection) -> str:
    """The SHA-256 of the host key of an open connection."""
    key = connection.get_server_host_key()
    return normal_fingerprint(key.get_fingerprint("sha256")) if key else ""


def parse_jump(text: str) -> _Server:
    """A jump host from "user@host[:port] [fingerprint]"; raises TransportError."""
    found = _JUMP.fullmatch(text.strip())
    fingerprint = normal_fingerprint(found["fingerprint"] or "") if found else ""
    # One that was cut off would be none, and the key would log in to whoever answers.
    cut_off = found and found["fingerprint"] and not re.fullmatch("[0-9a-f]{64}", fingerprint)
    if not found or cut_off or int(found["port"] or PORT) > 65535:
        raise TransportError(Message("ssh.bad_jump", {"jump": repr(text)}), permanent=True)
    return _Server(
        found["host"].strip("[]"),
        int(found["port"] or PORT),
        found["user"],
        fingerprint,
    )


async def _located(target: Target, locate: Locate) -> str:
    """The address to connect to; a name that only the jump host knows is left to it.

    But for where only some networks are allowed: nobody here can tell whether it is in one.
    """
    try:
        return await locate(target.address)
    except TransportError as error:
        left_to_jump = target.jump and not target.allowed_networks
        if left_to_jump and error.message.code == "address.unknown":
            return target.address
        raise


async def _client_keys(credential: Credential) -> list[asyncssh.SSHKey]:
    if not credential.private_key:
        return []
    check_cost(credential.private_key)
    # In a thread, since a passphrase is made slow to try on purpose.
    key = await asyncio.to_thread(open_key, credential.private_key, credential.passphrase)
    return [key]


async def _log_in(
    server: _Server,
    credential: Credential,
    keys: list[asyncssh.SSHKey],
    tunnel: asyncssh.SSHClientConnection | None,
) -> asyncssh.SSHClientConnection:
    clients: list[_Client] = []

    def client() -> _Client:
        clients.append(_Client(server.fingerprint or None))
        return clients[-1]

    options: dict[str, Any] = {
        "username": server.user,
        "client_keys": keys or None,
        "password": (credential.password or None) if server.fingerprint else None,
        "tunnel": tunnel or (),
    }
    for number, family in enumerate(HOST_KEYS, start=1):
        algorithms = {"server_host_key_algs": list(family)}
        async with _Errors(server):
            try:
                connection, _ = await asyncssh.create_connection(
                    client, server.address, server.port, **_FIXED, **options, **algorithms
                )
            except _OTHER_FAMILY as error:
                hung_up = isinstance(error, _HUNG_UP)
                if hung_up and clients and clients[-1].recognised:
                    raise
                if number < len(HOST_KEYS):
                    continue
                met = next((found.met for found in clients if found.met), "")
                if hung_up and not met:
                    raise
                raise _wrong_host_key(server, met) from None
            return connection
    raise AssertionError("unreachable")


#: A server without a key of a family says so, or just hangs up, which may come first.
_HUNG_UP = (asyncssh.ConnectionLost, ConnectionResetError)
_OTHER_FAMILY = (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed, *_HUNG_UP)

#: Nothing of this machine takes part, and every key must pass validate_host_public_key.
_FIXED: dict[str, Any] = {
    "config": None,
    "known_hosts": ([], [], []),
    "x509_trusted_certs": None,
    "agent_path": None,
    "agent_forwarding": False,
    "gss_auth": False,
    "gss_kex": False,
    "host_based_auth": False,
    "kex_algs": list(KEY_EXCHANGES),
    "encryption_algs": list(CIPHERS),
    "compression_algs": None,
    "connect_timeout": CONNECT_TIMEOUT_S,
    "login_timeout": LOGIN_TIMEOUT_S,
}


def _wrong_host_key(server: _Server, met: str) -> TransportError:
    if not met:
        return TransportError(Message("ssh.no_common_algorithm"), permanent=True)
    params: dict[str, Param] = {
        "expected": openssh_fingerprint(server.fingerprint)
        if re.fullmatch("[0-9a-f]{64}", server.fingerprint)
        else server.fingerprint,
        "met": openssh_fingerprint(met),
    }
    return TransportError(Message("ssh.wrong_host_key", params), permanent=True)


class _Errors:
    """Errors of asyncssh while connecting to a server, as errors of a transport."""

    def __init__(self, server: _Server) -> None:
        self.where: dict[str, Param] = {"address": server.address, "port": server.port}
        self.user = server.user

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncssh.PermissionDenied):
            message = Message("ssh.bad_login", {"user": self.user, **self.where})
            raise TransportError(message, permanent=True) from None
        if isinstance(error, asyncssh.ChannelOpenError):
            raise TransportError(Message("ssh.jump_cannot_reach", self.where)) from None
        if isinstance(error, TimeoutError):
            raise TransportError(Message("ssh.no_answer", self.where)) from None
        if isinstance(error, ConnectionRefusedError):
            raise TransportError(Message("ssh.nobody_listens", self.where)) from None
        if isinstance(error, asyncssh.Error | OSError):
            reason = system_reason(error) if isinstance(error, OSError) else error.reason
            params = {**self.where, "reason": reason[:120]}
            raise TransportError(Message("ssh.unreachable", params)) from None
        if isinstance(error, NONSENSE):
            raise nonsense(error) from None


def nonsense(error: BaseException) -> TransportError:
    """Returns what is told of a server whose packets nobody understands; the log says more."""
    logger.warning("An SSH server sent what cannot be understood: %r", error)
    return TransportError(Message("ssh.nonsense"))
