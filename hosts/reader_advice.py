"""What mail programs do with a certificate, for those who use them: from the measured notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from certs.clients import notes_for
from certs.facts import CertificateFacts
from certs.models import ClientNote
from certs.models.client_note import Mark, Source

__all__ = ["Advice", "advice"]

# Programs that people read mail with; the notes also know tools and libraries.
PROGRAMS = ("thunderbird", "claws-mail", "sylpheed", "alpine", "mutt", "neomutt", "s-nail")


@dataclass
class Advice:
    """One program: what it says, and what to set in it."""

    slug: str
    name: str
    version: str
    usable: bool = False
    remarks: dict[str, list[str]] = field(default_factory=dict)  # remark -> protocols
    lines: list[str] = field(default_factory=list)

    def add(self, note: ClientNote) -> None:
        self.usable = self.usable or note.mark in (Mark.GOOD, Mark.PARTIAL)
        if note.remark:
            protocols = self.remarks.setdefault(note.remark, [])
            if (label := str(note.get_protocol_display())) not in protocols:
                protocols.append(label)
        self.lines += [line for line in note.setting.splitlines() if line not in self.lines]


def advice(facts: CertificateFacts, server_names: Iterable[str]) -> list[Advice]:
    """Returns what was measured with certificates like this one, the best known program first."""
    notes = notes_for(facts, host_names=server_names).filter(
        for_mail_users=True,
        historical=False,
        source=Source.MEASURED,
        client_slug__in=PROGRAMS,
    )
    found: dict[str, Advice] = {}
    for note in notes.defer("results"):
        slug = note.client_slug
        if slug not in found:
            found[slug] = Advice(slug, note.client_name, note.version_text)
        found[slug].add(note)
    return sorted(found.values(), key=lambda each: PROGRAMS.index(each.slug))
