"""The names by which mail clients reach hosts, as far as the inventory tells."""

from __future__ import annotations

from collections.abc import Iterable

from certs.clients import names_among
from hosts.models import Host

__all__ = ["client_names"]


def client_names(hosts: Iterable[Host]) -> list[str]:
    """Returns the host names among the addresses of `hosts`, each once."""
    return names_among(host.address for host in hosts)
