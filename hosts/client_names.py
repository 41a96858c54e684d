"""The names by which mail clients reach hosts, as far as the inventory tells."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from hosts.models import Host

__all__ = ["client_names"]


def client_names(hosts: Iterable[Host]) -> list[str]:
    """Returns the host names among the addresses of `hosts`, each once.

    An IP address says where the portal tries the services, not what people enter in their mail
    program, so it tells nothing; nor does a name of the portal's own machine.
    """
    addresses = dict.fromkeys(host.address.rstrip(".").lower() for host in hosts)
    return [address for address in addresses if address and not _private(address)]


def _private(address: str) -> bool:
    try:
        ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")
    return True
