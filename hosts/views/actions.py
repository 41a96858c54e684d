"""The buttons beside findings: what the portal can do about each on request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from hosts import by_hand
from hosts.models import Diagnosis, Host
from hosts.views import present
from xmailadmin.roles import OPERATE

IDENTITY = frozenset(
    {"ssh.wrong_host_key", "ssh.no_fingerprint", "ctrl.wrong_certificate", "ctrl.no_fingerprint"}
)
EDITS = frozenset(
    f"remedy.{name}"
    for name in (
        "correct_mailroot", "add_endpoints", "add_address", "endpoint_connect", "endpoint_banner",
    )
)  # fmt: skip
INSTALLS = frozenset({"remedy.install_pair", "remedy.drift", "remedy.endpoint_handshake"})
OPEN_KEY = frozenset({"key_open_to_all", "key_open_to_group"})


@dataclass(frozen=True)
class Action:
    """One button (components/finding.html); `post` says that it changes something at once."""

    label: str
    url: str
    post: bool = False


def with_actions(
    found: Iterable[present.Finding], diagnosis: Diagnosis, host: Host
) -> list[present.Finding]:
    """Returns the findings of a host with their buttons, each button beside the first only."""
    seen: set[str] = set()
    result = []
    reachable = bool(diagnosis.facts.get("reachable"))
    for finding, stored in zip(found, diagnosis.findings, strict=True):
        offered = _actions(stored, host, reachable=reachable)
        new = [action for action in offered if action.url not in seen]
        seen.update(action.url for action in new)
        result.append(replace(finding, actions=tuple(new)))
    return result


def _actions(finding: Mapping[str, Any], host: Host, *, reachable: bool) -> Iterator[Action]:
    remedy = (finding.get("remedy") or {}).get("code", "")
    message = (finding.get("message") or {}).get("code", "")
    if reachable and remedy in INSTALLS:
        yield from _installs(host, remedy)
    if reachable and remedy in {"remedy.drift", "remedy.unrecorded"}:
        yield Action(_("Keep what is there"), _to("host_adopt", host))
    elif remedy in {"remedy.new_pair", "remedy.key_in_certificate"}:
        chosen = [("host", host.pk)] + ([("from", host.pair_id)] if host.pair_id else [])
        yield Action(_("Make a new pair"), f"{reverse('pair_new')}?{urlencode(chosen)}")
    elif remedy == "remedy.mend_access" and message in IDENTITY:
        yield Action(_("Look at its identity"), _to("host_reenrol", host))
    elif remedy in EDITS or remedy == "remedy.mend_access":
        yield Action(_("Edit the host"), _to("host_edit", host))
    elif finding["code"] in OPEN_KEY and by_hand.can_mend(host):
        yield Action(_("Take it from the others now"), _to("host_mend", host), post=True)
    elif finding["code"] == "key_left_open":
        yield Action(_("It was mended"), _to("host_mended", host), post=True)


def _installs(host: Host, remedy: str) -> Iterator[Action]:
    if host.disabled:
        return
    if host.pair is not None and host.pair.usable:
        label = _("Install the recorded pair again")
        yield Action(label, _to("host_reinstall", host), post=True)
    elif remedy == "remedy.install_pair":
        yield Action(_("Choose a pair"), _to("host_install", host))


def _to(name: str, host: Host) -> str:
    return reverse(name, args=[host.pk])


def may_act(request: HttpRequest) -> bool:
    """Whether the person may do more than look."""
    return bool(request.user.has_perm(OPERATE))
