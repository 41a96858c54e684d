"""Mail goes out by a real connection, and a server that never ends its reply is given up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from smtplib import SMTPServerDisconnected

import pytest
from django.core.mail import EmailMessage

from xmailadmin import environment
from xmailadmin.mail import EmailBackend


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    serve(connection)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()
        thread.join(10)
        assert not thread.is_alive()


def send(address: tuple[str, int]) -> int | None:
    backend = EmailBackend(*address, timeout=5)
    return backend.send_messages([EmailMessage("Hello", "there", "a@dojo.jp", ["b@dojo.jp"])])


def test_a_message_is_sent() -> None:
    seen = []

    def sound(connection: socket.socket) -> None:
        replies = {b"EHLO": b"250-mail\r\n250 8BITMIME\r\n", b"DATA": b"354 go on\r\n"}
        connection.sendall(b"220-welcome\r\n" * 20 + b"220 mail\r\n")
        for line in connection.makefile("rb"):
            seen.append(line)
            if line == b"data\r\n" or b"data\r\n" not in seen or b".\r\n" in seen:
                connection.sendall(replies.get(line[:4].upper(), b"250 OK\r\n"))

    with server(sound) as address:
        assert send(address) == 1
    assert b"there\r\n" in seen


def test_a_reply_without_end_is_given_up() -> None:
    def endless(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"220-more\r\n" * 1000)

    with server(endless) as address, pytest.raises(SMTPServerDisconnected):
        send(address)


@pytest.mark.parametrize("url", ["smtp://mail:25", "smtp+tls://u:p@mail:587", "smtp+ssl://mail"])
def test_mail_goes_that_way(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("EMAIL_URL", url)
    assert environment.mail("EMAIL_URL")["EMAIL_BACKEND"] == "xmailadmin.mail.EmailBackend"
