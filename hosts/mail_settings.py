"""What people enter in a mail program to reach a server: worked out, not worded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hosts.probe import Endpoint

__all__ = ["Endpoints", "MailSettings", "Service", "common", "mail_settings"]

Endpoints = Sequence[Endpoint]

# The best first: TLS from the first byte cannot be stripped.
RECEIVING = (("pop3s", True), ("pop3", False))
SENDING = (("smtps", True), ("submission", False))
# Port 25 is for mail between servers, and providers block it for their customers.
LAST_RESORT = (("smtp", False),)


@dataclass(frozen=True)
class Service:
    """One way to reach a server."""

    server: str
    port: int
    implicit: bool  # TLS from the first byte, else STARTTLS/STLS


@dataclass(frozen=True)
class MailSettings:
    """All ways to receive and to send, the best first. `whole_address`: the user name is the mail
    address, else the part before the @."""

    receiving: tuple[Service, ...]
    sending: tuple[Service, ...]
    whole_address: bool
    mail_domain: str

    @property
    def complete(self) -> bool:
        """True if an account can be set up: mail can be received and sent."""
        return bool(self.receiving and self.sending)


def mail_settings(
    endpoints: Endpoints,
    *,
    receiving: str,
    sending: str,
    whole_address: bool,
    mail_domain: str,
) -> MailSettings:
    """Returns what to enter for servers that go by these names."""
    ports = {endpoint.name: endpoint.port for endpoint in endpoints}
    out = _services(ports, SENDING, sending) or _services(ports, LAST_RESORT, sending)
    return MailSettings(_services(ports, RECEIVING, receiving), out, whole_address, mail_domain)


def common(lists: Sequence[Endpoints]) -> Endpoints:
    """Returns the services that are the same, port included, on every one of several hosts."""
    if not lists:
        return []
    return [endpoint for endpoint in lists[0] if all(endpoint in each for each in lists[1:])]


def _services(
    ports: dict[str, int], kinds: tuple[tuple[str, bool], ...], server: str
) -> tuple[Service, ...]:
    return tuple(
        Service(server, ports[name], implicit) for name, implicit in kinds if name in ports
    )
