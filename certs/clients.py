"""What is known about mail clients: which notes fit a certificate, and how a table shows them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.db import models
from django.utils.text import slugify

from certs.models import ClientNote
from certs.models.client_note import SIGNS, CertificateKind, Mark, Protocol, Security

if TYPE_CHECKING:
    from certs.pair import CertificateFacts

__all__ = [
    "DEFAULT_KIND",
    "GENERAL_KINDS",
    "Row",
    "Settings",
    "Table",
    "covers",
    "has_san",
    "kind_order",
    "kinds_of",
    "missing_names",
    "names_among",
    "notes_for",
    "notes_of_kinds",
    "settings_of",
    "tables",
]

DEFAULT_KIND = CertificateKind.SELF_SIGNED_SAN  # what this portal makes unless told otherwise
GENERAL_KINDS = (CertificateKind.ANY, CertificateKind.SELF_SIGNED)
SELF_SIGNED_KINDS = frozenset(
    {
        CertificateKind.SELF_SIGNED_SAN,
        CertificateKind.SANCA,
        CertificateKind.NOSAN,
        CertificateKind.ECDSA,
        CertificateKind.RSA_4096,
        CertificateKind.RSA_1024,
        CertificateKind.RSA_1024_SECLEVEL1,
    }
)


# --- Which notes fit a certificate ------------------------------------------------------------


def kinds_of(
    facts: CertificateFacts, *, host_names: Iterable[str] = (), now: datetime | None = None
) -> tuple[str, ...]:
    """Returns the kinds of certificate that this one is, what troubles clients first.

    `host_names` are the names by which clients reach the servers; without them nobody can say
    whether the certificate's names fit.
    """
    kinds: list[str] = []
    rsa = facts.key_label.startswith("RSA ")
    if rsa and facts.key_size < 2048:
        kinds += [CertificateKind.RSA_1024, CertificateKind.RSA_1024_SECLEVEL1]
    if facts.not_after < (now or datetime.now(UTC)):
        kinds.append(CertificateKind.EXPIRED)
    if not has_san(facts):
        kinds.append(CertificateKind.NOSAN)
    if missing_names(facts, host_names):
        kinds.append(CertificateKind.MISMATCH)
    if facts.self_signed and facts.is_ca:
        kinds.append(CertificateKind.SANCA)
    if not facts.self_signed:
        kinds.append(CertificateKind.PRIVATE_CA)
    elif facts.key_label.startswith("EC "):
        kinds.append(CertificateKind.ECDSA)
    elif rsa and facts.key_size >= 4096:
        kinds.append(CertificateKind.RSA_4096)
    elif rsa and not kinds:
        kinds.append(CertificateKind.SELF_SIGNED_SAN)
    return tuple(kinds)


def has_san(facts: CertificateFacts) -> bool:
    """True if clients find a host name where they look for it; the common name does not count."""
    return any(
        extension.title == "X509v3 Subject Alternative Name"
        and ("DNS:" in extension.text or "IP Address:" in extension.text)
        for extension in facts.extensions
    )


def covers(names: Iterable[str], host: str) -> bool:
    """True if one of the certificate's names fits the host (RFC 6125: `*` is one whole label)."""
    host = host.rstrip(".").lower()
    for name in names:
        pattern = name.rstrip(".").lower()
        if pattern == host:
            return True
        if pattern.startswith("*.") and host.partition(".")[2] == pattern[2:]:
            return True
    return False


def names_among(addresses: Iterable[str]) -> list[str]:
    """Returns the host names among the addresses of servers, each once.

    An IP address says where the portal tries the services, not what people enter in their mail
    program, so it tells nothing; nor does a name of the portal's own machine.
    """
    found = dict.fromkeys(address.rstrip(".").lower() for address in addresses)
    return [address for address in found if address and not _tells_nothing(address)]


def _tells_nothing(address: str) -> bool:
    try:
        ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")
    return True


def missing_names(facts: CertificateFacts, host_names: Iterable[str]) -> tuple[str, ...]:
    """Returns those of the host names that the certificate does not hold, each once."""
    return tuple(name for name in dict.fromkeys(host_names) if not covers(facts.names, name))


def notes_of_kinds(
    kinds: Iterable[str], *, self_signed: bool = False
) -> models.QuerySet[ClientNote]:
    """Returns the notes about these kinds and the general notes that include them."""
    wanted = {*kinds, CertificateKind.ANY}
    if self_signed or wanted & SELF_SIGNED_KINDS:
        wanted.add(CertificateKind.SELF_SIGNED)
    return ClientNote.objects.filter(certificate_kind__in=wanted)


def notes_for(
    facts: CertificateFacts, *, host_names: Iterable[str] = (), now: datetime | None = None
) -> models.QuerySet[ClientNote]:
    """Returns every note that applies to the certificate, the historical ones flagged as such."""
    kinds = kinds_of(facts, host_names=host_names, now=now)
    return notes_of_kinds(kinds, self_signed=facts.self_signed)


# --- The table form of the original page ------------------------------------------------------


@dataclass
class Entry:
    """One mark in a cell and what it holds for; `security` is empty when it holds for both."""

    mark: str
    remark: str
    securities: set[str] = field(default_factory=set)

    @property
    def sign(self) -> str:
        return SIGNS[self.mark]

    @property
    def mark_text(self) -> str:
        return str(Mark(self.mark).label)

    @property
    def security(self) -> str:
        both = {Security.STARTTLS, Security.IMPLICIT} <= self.securities
        if both or Security.ANY in self.securities:
            return ""
        return str(Security(next(iter(self.securities))).label)


@dataclass
class Row:
    """One client: its marks for sending and for receiving."""

    client_slug: str
    client_name: str
    version: str
    kind: str
    cells: dict[str, list[Entry]] = field(default_factory=lambda: {p: [] for p in Protocol.values})
    ageing: bool = False  # a note in it was not confirmed for long

    @property
    def kind_text(self) -> str:
        return str(CertificateKind(self.kind).label)

    @property
    def smtp(self) -> list[Entry]:
        return self.cells[Protocol.SMTP]

    @property
    def pop3(self) -> list[Entry]:
        return self.cells[Protocol.POP3]

    def add(self, note: ClientNote) -> None:
        self.ageing = self.ageing or note.ageing
        cell = self.cells[note.protocol]
        for entry in cell:
            if (entry.mark, entry.remark) == (note.mark, note.remark):
                entry.securities.add(note.security)
                return
        cell.append(Entry(note.mark, note.remark, {note.security}))


@dataclass
class Table:
    """All clients on one operating system."""

    os: str
    historical: bool
    rows: list[Row] = field(default_factory=list)

    @property
    def slug(self) -> str:
        return slugify(f"os-{self.os}-{'then' if self.historical else 'now'}")


def kind_order(kind: str) -> int:
    """Returns where the kind stands in lists: general first, then from usual to unusable."""
    return CertificateKind.values.index(kind)


def tables(notes: Iterable[ClientNote], *, by_kind: bool = False) -> list[Table]:
    """Returns one table an operating system, in the order of the notes, the current ones first.

    With `by_kind` every kind of certificate has a row of its own; else the notes are taken to be
    about one certificate and share a row.
    """
    found: dict[tuple[bool, str], Table] = {}
    rows: dict[tuple[object, ...], Row] = {}
    for note in notes:
        place = (note.historical, note.os)
        kind = note.certificate_kind if by_kind else ""
        table = found.setdefault(place, Table(note.os, note.historical))
        key = (*place, note.client_slug, note.version, kind)
        if key not in rows:
            rows[key] = Row(note.client_slug, note.client_name, note.version_text, kind)
            table.rows.append(rows[key])
        rows[key].add(note)
    if by_kind:
        for table in found.values():
            order = {row.client_slug: number for number, row in reversed([*enumerate(table.rows)])}
            table.rows.sort(key=lambda row: (order[row.client_slug], kind_order(row.kind)))
    return sorted(found.values(), key=lambda table: table.historical)


# --- What to set in one client ---------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What to set in one client for one protocol with the certificate made by default."""

    protocol: Protocol
    entries: list[Entry]
    lines: list[str]
    starttls: bool  # it works over STARTTLS/STLS
    implicit: bool  # it works with TLS from the first byte

    @property
    def usable(self) -> bool:
        return any(entry.mark in (Mark.GOOD, Mark.PARTIAL) for entry in self.entries)


def settings_of(notes: Iterable[ClientNote]) -> list[Settings]:
    """Returns what to set in the client that all of these notes are about, sending first."""
    wanted = [note for note in notes if note.certificate_kind in (DEFAULT_KIND, *GENERAL_KINDS)]
    found = []
    for protocol in Protocol:
        row = Row("", "", "", "")
        lines: dict[str, None] = {}
        working = set()
        for note in wanted:
            if note.protocol == protocol:
                row.add(note)
                lines.update(dict.fromkeys(note.setting.splitlines()))
                if note.mark in (Mark.GOOD, Mark.PARTIAL):
                    working.add(note.security)
        starttls = bool(working & {Security.STARTTLS, Security.ANY})
        implicit = bool(working & {Security.IMPLICIT, Security.ANY})
        found.append(Settings(protocol, row.cells[protocol], list(lines), starttls, implicit))
    return found
