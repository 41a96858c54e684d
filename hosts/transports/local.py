"""A MailRoot on this machine."""

from __future__ import annotations

from hosts.transports.base import Transport


class LocalTransport(Transport):
    """Placeholder until the next commit."""
