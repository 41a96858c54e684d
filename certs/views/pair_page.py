"""What the page of one pair shows: facts in words, what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from certs import pair as pem
from certs.clients import names_among, notes_for, tables
from certs.judgement import judge
from certs.models import Pair
from certs.models.client_note import Protocol
from certs.problems import FACTS, STATES

if TYPE_CHECKING:
    from certs.facts import CertificateFacts, FactValue

__all__ = ["FactRow", "context", "fact_rows", "installed", "making"]

HOSTS_SHOWN = 10
ADDRESSES_JUDGED = 1000
DEPLOYMENTS_SHOWN = 5
PATIENCE_S = 15  # a pair that waits longer than this may have no worker

# What to do about a pair that XMail cannot serve, by certs.pair.PairState.code.
REMEDIES = {
    "missing_key": gettext_lazy(
        "It cannot be installed. Make a new pair for the same names and install that one."
    ),
    "missing_certificate": gettext_lazy(
        "It cannot be installed. Make a new pair and install that one."
    ),
    "encrypted_key": gettext_lazy(
        "It cannot be installed. Make a new pair, or remove the passphrase with openssl and put "
        "the key on the host by hand."
    ),
    "weak_key": gettext_lazy(
        "It cannot be installed. Make a new pair of at least RSA 2048 bits for the same names."
    ),
    "weak_signature": gettext_lazy(
        "It cannot be installed. Ask the authority for a certificate that is signed with SHA-256, "
        "or make a new pair for the same names."
    ),
}
OTHER_REMEDY = gettext_lazy(
    "It cannot be installed. It is kept as it was found, so that nothing is lost; make a new pair "
    "for the same names and install that one."
)

HEX = ("sha256", "sha1", "spki_sha256")
CODE = ("serial", "subject", "issuer")


@dataclass(frozen=True)
class Step:
    """One entry of a time line (components/steps.html)."""

    word: str
    tone: str
    icon: str
    at: datetime | None = None
    text: str = ""


@dataclass(frozen=True)
class FactRow:
    """One line of the certificate; `kind` tells the template how to draw the value."""

    name: str
    label: str
    kind: str  # text, code, moment, until, hex or list
    value: Any


def fact_rows(facts: CertificateFacts) -> list[FactRow]:
    """Returns every fact of the certificate but its extensions, in words."""
    return list(_rows(facts))


def _rows(facts: CertificateFacts) -> Iterator[FactRow]:
    for fact in facts.rows():
        kind, value = _shown(fact.label, fact.value)
        yield FactRow(fact.label, str(FACTS[fact.label]), kind, value)


def _shown(label: str, value: FactValue) -> tuple[str, Any]:
    if isinstance(value, bool):
        return "text", _("Yes") if value else _("No")
    if isinstance(value, datetime):
        return ("until" if label == "not_after" else "moment"), value
    if isinstance(value, tuple):
        return "list", value
    if label in HEX:
        return "hex", value
    return ("code" if label in CODE else "text"), value


def installed(pair: Pair) -> dict[str, Any]:
    """Returns where the pair is and where it is just being installed."""
    hosts = pair.hosts.order_by("name")
    running = list(pair.deployments.filter(finished_at=None).order_by("-pk")[:DEPLOYMENTS_SHOWN])
    count = hosts.count()
    return {
        "pair": pair,
        "hosts": hosts[:HOSTS_SHOWN],
        "host_count": count,
        "more_hosts": max(0, count - HOSTS_SHOWN),
        "running": running,
        "ever_installed": pair.installations.exists(),
    }


def _certificate(pair: Pair, facts: CertificateFacts) -> dict[str, Any]:
    notes = tables(notes_for(facts).defer("results"))
    addresses = pair.hosts.order_by("address").values_list("address", flat=True).distinct()
    names = names_among(addresses[:ADDRESSES_JUDGED])
    current = [table for table in notes if not table.historical]
    return {
        "facts": facts,
        "judgement": judge(facts, host_names=names, now=timezone.now()),
        "fact_rows": fact_rows(facts),
        "text": pem.text(pair.certificate_pem or b""),
        "current_tables": current,
        "client_count": sum(len(table.rows) for table in current),
        "historical_tables": [table for table in notes if table.historical],
        "protocols": Protocol.values,
    }


def making(pair: Pair) -> dict[str, Any]:
    """Returns what is shown while the pair is being made."""
    requested = Step(_("The request is on record"), "ok", "ok", pair.created_at)
    make = _("Make the key and the certificate")
    if pair.status == Pair.Status.ISSUING:
        now = Step(make, "busy", "running", text=_("Long keys take several seconds."))
    else:
        now = Step(make, "idle", "queued", text=_("This waits for a worker."))
    waited = (timezone.now() - pair.created_at).total_seconds()
    return {"pair": pair, "steps": [requested, now], "slow": waited > PATIENCE_S}


def context(pair: Pair) -> dict[str, Any]:
    """Returns what the page of the pair shows."""
    found = installed(pair)
    if pair.pending:
        return found | making(pair)
    if (facts := pair.facts()) is not None:
        found |= _certificate(pair, facts)
    if pair.status == Pair.Status.ISSUED and not pair.usable:
        found["problem"] = STATES.get(pair.state, "")
        found["remedy"] = REMEDIES.get(pair.state, OTHER_REMEDY)
    found["has_key"] = bool(pair.key_sealed)
    found["has_certificate"] = bool(pair.certificate)
    found["holds_more"] = bool(pair.certificate_sealed)
    found["expired"] = pair.not_after is not None and pair.not_after < timezone.now()
    return found
