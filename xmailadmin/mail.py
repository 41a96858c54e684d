"""How mail is sent: by Django's SMTP, but from no server whose reply has no end."""

from __future__ import annotations

import smtplib
from typing import Any

from django.core.mail.backends import smtp

__all__ = ["EmailBackend"]

MOST_LINES = 200  # of one reply; real ones have a dozen


class _Reply:
    """What the server sends, line by line, up to MOST_LINES."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.lines = 0

    def readline(self, size: int) -> bytes:
        self.lines += 1
        if self.lines > MOST_LINES:
            raise OSError("the reply of the mail server does not end")
        line: bytes = self._file.readline(size)
        return line

    def close(self) -> None:
        self._file.close()


class _Bounded(smtplib.SMTP):
    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Reply(self.sock.makefile("rb"))
        if isinstance(self.file, _Reply):
            self.file.lines = 0
        return super().getreply()


class _BoundedTLS(_Bounded, smtplib.SMTP_SSL):
    pass


class EmailBackend(smtp.EmailBackend):
    """Django's, with bounded replies."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return _BoundedTLS if self.use_ssl else _Bounded
