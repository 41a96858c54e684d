"""What the portal forgets of a host that is at another place from now on."""

from __future__ import annotations

from certs.models import Pair
from hosts.messages import Message
from hosts.models import Diagnosis, Host

__all__ = ["leave_behind"]


def leave_behind(host: Host, before: Host, certificate: str) -> Message | None:
    """Takes off the record what was proven or seen where `host` was `before`, and saves that.

    Not if a look has just found the certificate on record (SHA-256) at the new place: but for that
    the page for mail users would have them trust the certificate of another server. Returns what
    there is to tell. The caller has locked the row of the host.
    """
    recorded = Pair.objects.filter(hosts=host).first()  # what was loaded may be older
    if recorded is not None and recorded.sha256 == certificate != "":
        return None
    host.pair, host.installed_at, host.state = None, None, Host.State.UNKNOWN
    forgotten = ["pair", "installed_at", "state"]
    if host.whereabouts != before.whereabouts:  # else the key that is open is still there
        host.key_open = False
        forgotten.append("key_open")
    host.save(update_fields=forgotten)
    Diagnosis.objects.filter(host=host).delete()
    if recorded is None:
        return None
    return Message("registration.left_behind", {"pair": str(recorded), "host": host.name})
