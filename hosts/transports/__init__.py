"""The ways to reach a host, by name. A new one is one file here and one line in REGISTRY."""

from __future__ import annotations

from hosts.messages import Message
from hosts.transports.base import (
    Credential,
    File,
    FileInfo,
    Target,
    Transport,
    TransportError,
    leaf_sha256,
    normal_fingerprint,
    openssh_fingerprint,
)
from hosts.transports.ctrl import CtrlTransport
from hosts.transports.local import LocalTransport
from hosts.transports.sftp import SFTPTransport

REGISTRY: dict[str, type[Transport]] = {
    "local": LocalTransport,
    "sftp": SFTPTransport,
    "ctrl": CtrlTransport,
}

__all__ = [
    "REGISTRY",
    "Credential",
    "CtrlTransport",
    "File",
    "FileInfo",
    "LocalTransport",
    "SFTPTransport",
    "Target",
    "Transport",
    "TransportError",
    "leaf_sha256",
    "normal_fingerprint",
    "open_transport",
    "openssh_fingerprint",
]


def open_transport(target: Target) -> Transport:
    """The transport for a host, not connected yet: enter it, or hand it to `install`."""
    kind = REGISTRY.get(target.transport)
    if kind is None:
        raise TransportError(
            Message("transport.unknown", {"transport": target.transport}), permanent=True
        )
    return kind(target)
