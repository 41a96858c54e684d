"""What the inventory says about a host after an installation has ended there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from certs.models import Pair
from hosts.install import Outcome
from hosts.models import Deployment, Host, Installation
from hosts.transports import REGISTRY

__all__ = ["host_values"]

Status = Installation.Status


def host_values(row: Installation, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Returns the fields of the host that change with this outcome.

    Where a host is known by the very certificate that an installation replaces, what is trusted
    moves on with it, and only then: when the files were read back and the services were tried.
    What was put back is on record already, or somebody else's: a person decides about that.
    """
    values: dict[str, Any] = {}
    if any(note.code == "install.mode_0666" for note in outcome.notes):
        values["key_open"] = True
    if row.deployment.kind == Deployment.Kind.PLACE:
        return values  # what XMail uses is as it was
    if outcome.status in (Status.INSTALLED, Status.UNCHANGED):
        values |= {"pair": row.pair, "installed_at": now, **_trusted(row.host, row.pair)}
    elif outcome.status == Status.REMOVED:
        values |= {"pair": None, "installed_at": None, "key_open": False}
        if row.host is not None and REGISTRY[row.host.transport].identity_is_pair:
            values["trust_fingerprint"] = ""  # it went with the pair: as before the first one
    elif outcome.status == Status.ROLLED_BACK and row.puts_right_id is not None:
        values |= {"pair": row.previous_pair, **_trusted(row.host, row.previous_pair)}
    return values


def _trusted(host: Host | None, pair: Pair | None) -> dict[str, str]:
    if host is None or pair is None or not pair.sha256:
        return {}
    return {"trust_fingerprint": pair.sha256} if REGISTRY[host.transport].identity_is_pair else {}
