"""A client of the XMail double that says what a test wants it to."""

from __future__ import annotations

import hashlib
import socket
import ssl

from tests.doubles.wire import ClosingSSLSocket
from tests.doubles.xmail import XMail


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.sslsocket_class = ClosingSSLSocket
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """Lines over a socket, in clear or over TLS."""

    def __init__(self, port: int, tls: bool = False) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        if tls:
            self.start_tls()

    def start_tls(self) -> str:
        """The SHA-256 of the certificate served."""
        wrapped = unverified().wrap_socket(self.sock)
        self.sock = wrapped
        return hashlib.sha256(wrapped.getpeercert(binary_form=True) or b"").hexdigest()

    def say(self, *lines: str) -> None:
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def line(self) -> str:
        data = b""
        while not data.endswith(b"\n"):
            if not (byte := self.sock.recv(1)):
                raise EOFError(data)
            data += byte
        return data.decode().removesuffix("\r\n")

    def ask(self, *lines: str) -> str:
        self.say(*lines)
        return self.line()

    def until(self, last: str) -> list[str]:
        lines = []
        while (line := self.line()) != last:
            lines.append(line)
        return lines

    def close(self) -> None:
        self.sock.close()


def login(client: Client, xmail: XMail, *, plain: bool = False) -> str:
    """The answer to a log-in on a CTRL connection that has not greeted yet."""
    stamp = client.line().split(" ")[1]
    digest = hashlib.md5((stamp + xmail.password).encode()).hexdigest()  # noqa: S324
    answer = xmail.password if plain else f"#{digest}"
    return client.ask(f'"{xmail.user}"\t"{answer}"')


def put(client: Client, name: str, *lines: str) -> str:
    assert client.ask(f'"cfgfileset"\t"{name}"').startswith("+00101")
    return client.ask(*lines, ".")
