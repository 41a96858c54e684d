"""Judges a certificate before it is used: which mail clients will have trouble with exactly it.

What a client does comes from the client notes; what nobody here has measured is named as such. A
judgement holds codes and names, no sentences: history keeps it as it was, and a page words it in
the language of whoever reads it (certs/judgement_texts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils.translation import get_language

from certs import pair
from certs.clients import has_san, kinds_of, missing_names, notes_of_kinds
from certs.issue import issue
from certs.judgement_texts import EFFECTS, REMEDIES, SENTENCES
from certs.models import ClientNote
from certs.models.client_note import CertificateKind, Mark, Verify

if TYPE_CHECKING:
    from certs.facts import CertificateFacts
    from certs.spec import PairSpec

__all__ = ["Concern", "Judgement", "Verdict", "facts_of_spec", "judge"]

ERROR, WARNING, INFO = "error", "warning", "info"
LEVELS = (INFO, WARNING, ERROR)

# What a certificate does to a client, from harmless to fatal.
FINE, SETTING, EXCEPTION, NEVER = "fine", "setting", "exception", "never"
WORST = (FINE, SETTING, EXCEPTION, NEVER)

NAMES_SHOWN = 10
SOON = timedelta(days=30, hours=1)
APPLE_RULES_SINCE = datetime(2019, 7, 1, tzinfo=UTC)  # support.apple.com/103769
APPLE_DAYS = 825
MEASURED_KEYS = ("RSA 1024", "RSA 2048", "RSA 4096", "EC P-256")

# These kinds are flaws by themselves; the others are what a private certificate cannot avoid.
FLAWS = {
    CertificateKind.RSA_1024: ("weak_key", ERROR),
    CertificateKind.EXPIRED: ("expired", ERROR),
    CertificateKind.NOSAN: ("no_san", WARNING),
    CertificateKind.MISMATCH: ("mismatch", WARNING),
    CertificateKind.SANCA: ("ca_true", WARNING),
}


@dataclass(frozen=True)
class Verdict:
    """What one client does with the certificate."""

    slug: str
    name: str
    name_ja: str
    effect: str

    @property
    def client_name(self) -> str:
        return (self.name_ja if (get_language() or "").startswith("ja") else "") or self.name

    @property
    def effect_text(self) -> str:
        return str(EFFECTS[self.effect])


@dataclass(frozen=True)
class Concern:
    """One thing to know about the certificate, and the clients that it troubles."""

    code: str
    level: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    clients: tuple[Verdict, ...] = ()

    @property
    def text(self) -> str:
        return str(SENTENCES[self.code]) % self.params

    @property
    def remedy(self) -> str:
        return str(REMEDIES.get(self.code, ""))


@dataclass(frozen=True)
class Judgement:
    """What is to be said about one certificate; the gravest concern comes first."""

    kinds: tuple[str, ...]
    concerns: tuple[Concern, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def level(self) -> str:
        """`ok`, or the level of the gravest concern."""
        return self.concerns[0].level if self.concerns else "ok"

    @property
    def flawed(self) -> bool:
        """True if the certificate troubles clients more than a private one has to."""
        return self.level in (WARNING, ERROR)

    @property
    def groups(self) -> list[tuple[str, str, list[Verdict]]]:
        """The clients by what happens to them, the troubled ones first: effect, words, clients."""
        by_effect = [
            (effect, str(EFFECTS[effect]), [v for v in self.verdicts if v.effect == effect])
            for effect in reversed(WORST)
        ]
        return [group for group in by_effect if group[2]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Judgement:
        """Returns a judgement that was kept, without what this release no longer knows."""
        return cls(
            kinds=tuple(kept["kinds"]),
            concerns=tuple(
                Concern(**{**concern, "clients": _verdicts(concern["clients"])})
                for concern in kept["concerns"]
                if concern["code"] in SENTENCES
            ),
            verdicts=_verdicts(kept["verdicts"]),
        )


def _verdicts(kept: Iterable[Mapping[str, str]]) -> tuple[Verdict, ...]:
    return tuple(Verdict(**verdict) for verdict in kept if verdict["effect"] in EFFECTS)


def facts_of_spec(spec: PairSpec, now: datetime) -> CertificateFacts:
    """Returns the facts of the certificate that would be made; serial and hashes are not its own.

    A key that is quick to make stands in for the one asked for: nothing else depends on it.
    """
    stand_in = issue(replace(spec, key_type="ec", key_size=256), now)
    facts = pair.facts(stand_in.certificate_pem)
    label = f"RSA {spec.key_size}" if spec.key_type == "rsa" else f"EC P-{spec.key_size}"
    return replace(facts, key_label=label, key_size=spec.key_size)


def judge(
    facts: CertificateFacts, *, host_names: Iterable[str] = (), now: datetime | None = None
) -> Judgement:
    """Returns what to know about the certificate on hosts that clients reach by `host_names`."""
    now = now or datetime.now(UTC)
    missing = missing_names(facts, host_names)
    kinds = kinds_of(facts, host_names=missing, now=now)
    found = _effects(kinds)
    concerns = [*_flaws(facts, missing, kinds, found), *_dates(facts, now), *_unmeasured(facts)]
    verdicts = _overall(found)
    if needing := tuple(verdict for verdict in verdicts if verdict.effect != FINE):
        code = "self_signed" if facts.self_signed else "private_ca"
        concerns.append(Concern(code, INFO, clients=needing))
    concerns.sort(key=lambda concern: -LEVELS.index(concern.level))
    return Judgement(kinds, tuple(concerns), verdicts)


# --- What the notes say -----------------------------------------------------------------------


def _effects(kinds: Iterable[str]) -> dict[str, list[Verdict]]:
    """Returns what each kind of certificate does to each client that was tried with it."""
    wanted = [kind for kind in kinds if kind != CertificateKind.RSA_1024_SECLEVEL1]
    notes = notes_of_kinds(wanted, self_signed=True).filter(historical=False)
    special: dict[tuple[str, str], list[ClientNote]] = {}
    for note in notes.exclude(mark=Mark.ABSENT):
        if note.certificate_kind in wanted:
            special.setdefault((note.certificate_kind, note.client_slug), []).append(note)
        else:  # a general note holds for every kind
            for kind in wanted:
                special.setdefault((kind, note.client_slug), []).append(note)
    found: dict[str, list[Verdict]] = {kind: [] for kind in wanted}
    for (kind, slug), about in special.items():
        effect = _effect(about)
        found[kind].append(Verdict(slug, about[0].client, about[0].client_ja, effect))
    return found


def _effect(notes: Iterable[ClientNote]) -> str:
    """Returns what happens to a client: the worse of its protocols, each by its better port."""
    protocols: dict[str, list[int]] = {}
    for note in notes:
        protocols.setdefault(note.protocol, []).append(WORST.index(_effect_of(note)))
    return WORST[max(min(ports) for ports in protocols.values())]


def _effect_of(note: ClientNote) -> str:
    if note.mark == Mark.GOOD:
        return FINE
    if note.mark == Mark.NONE:
        return NEVER
    trusted = [run["result"] for run in note.results if run["verify"] == Verify.TRUSTED]
    return EXCEPTION if trusted and "ok" not in trusted else SETTING


def _overall(found: Mapping[str, Iterable[Verdict]]) -> tuple[Verdict, ...]:
    worst: dict[str, Verdict] = {}
    for verdicts in found.values():
        for verdict in verdicts:
            known = worst.setdefault(verdict.slug, verdict)
            if WORST.index(verdict.effect) > WORST.index(known.effect):
                worst[verdict.slug] = verdict
    return tuple(worst.values())


# --- What the certificate says ----------------------------------------------------------------


def _flaws(
    facts: CertificateFacts,
    missing: Iterable[str],
    kinds: Iterable[str],
    found: Mapping[str, Iterable[Verdict]],
) -> Iterable[Concern]:
    params: dict[str, Callable[[], dict[str, str | int]]] = {
        CertificateKind.RSA_1024: lambda: {"key": facts.key_label},
        CertificateKind.EXPIRED: lambda: {"day": facts.not_after.date().isoformat()},
        CertificateKind.MISMATCH: lambda: {"names": _listed(list(missing))},
    }
    for kind in kinds:
        if kind in FLAWS:
            code, level = FLAWS[CertificateKind(kind)]
            troubled = tuple(v for v in found.get(kind, ()) if v.effect in (EXCEPTION, NEVER))
            yield Concern(code, level, params.get(kind, dict)(), troubled)


def _listed(names: list[str]) -> str:
    return ", ".join([*names[:NAMES_SHOWN], *(["…"] if len(names) > NAMES_SHOWN else [])])


def _dates(facts: CertificateFacts, now: datetime) -> Iterable[Concern]:
    if now < facts.not_before:
        yield Concern("not_yet_valid", ERROR, {"day": facts.not_before.date().isoformat()})
    if now <= facts.not_after < now + SOON:
        day = {"day": facts.not_after.date().isoformat()}
        if facts.not_after - facts.not_before <= SOON:
            yield Concern("short_lived", INFO, day)  # as somebody wanted it
        else:
            yield Concern("expires_soon", WARNING, day)


def _unmeasured(facts: CertificateFacts) -> Iterable[Concern]:
    """What nobody here has measured, and what Apple says of its own."""
    if facts.key_label not in MEASURED_KEYS and facts.key_size >= 256:
        yield Concern("key_unmeasured", INFO, {"key": facts.key_label})
    if "sha1" in facts.signature_algorithm.lower():
        yield Concern("apple_sha1", WARNING)
    if facts.not_before >= APPLE_RULES_SINCE:
        days = -(-(facts.not_after - facts.not_before) // timedelta(days=1))
        if days > APPLE_DAYS:
            yield Concern("apple_days", WARNING, {"days": days})
        if not _for_servers(facts):
            yield Concern("apple_purpose", WARNING)
    if not has_san(facts):
        yield Concern("apple_san", WARNING)


def _for_servers(facts: CertificateFacts) -> bool:
    return any(
        extension.title == "X509v3 Extended Key Usage"
        and "TLS Web Server Authentication" in extension.text
        for extension in facts.extensions
    )
