"""What a pair shall contain, read from what people type: `PairSpec.parse` normalises or refuses.

A `PairSpec` that exists is valid: parsing, reading it back from JSON and constructing it directly
all pass the same rules. Every problem is told at once, as codes that certs/problems.py words.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from certs.names import (
    BLANKS,
    Refused,
    half_width,
    normalise_email,
    normalise_name,
    normalise_text,
)

MAX_DAYS = 825  # Apple's limit for a TLS server certificate that its user chose to trust
MAX_NAMES = 100
KEY_SIZES: Mapping[str, tuple[int, ...]] = {"rsa": (2048, 3072, 4096), "ec": (256, 384)}
DEFAULT_KEY_SIZES: Mapping[str, int] = {"rsa": 2048, "ec": 256}

# Upper bounds of RFC 5280 appendix A.1. They count characters, so Japanese names fit.
MAX_COMMON_NAME = 64
MAX_ORGANIZATION = 64  # and the organisational unit
MAX_STATE = 128  # and the locality

_SEPARATORS = re.compile(r"[\s,、，]+")
# Bounds of the work that one request can cause: what exceeds them has far more than 100 names.
_MAX_ALIAS_TEXT = MAX_NAMES * 256
_MAX_ALIAS_WORDS = 1000
_MAX_REFUSALS = 10  # refusing ten names says enough


@dataclass(frozen=True)
class FieldProblem:
    """Why one field was refused; certs/problems.py has the sentence for each code."""

    field: str
    code: str
    params: Mapping[str, str | int] = dataclasses.field(default_factory=dict)


class SpecError(ValueError):
    """The values cannot become a certificate; `errors` holds every problem, by field."""

    def __init__(self, errors: list[FieldProblem]) -> None:
        super().__init__(", ".join(f"{error.field}: {error.code}" for error in errors))
        self.errors = errors


@dataclass(frozen=True)
class PairSpec:
    """The content of a certificate and the kind of its key, normalised.

    Raises `SpecError` when a value breaks a rule or is not in its normal form.
    """

    country: str
    state: str
    locality: str
    organization: str
    common_name: str
    organizational_unit: str = ""
    aliases: tuple[str, ...] = ()
    email: str = ""
    key_type: str = "rsa"
    key_size: int = 2048
    days: int = MAX_DAYS

    def __post_init__(self) -> None:
        values = asdict(self)
        for name, value in _parse(values).items():
            if values[name] != value:
                raise SpecError([FieldProblem(name, "not_normal", {"value": str(value)})])

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """The spec that a form, a command or a file describes; raises `SpecError`.

        `aliases` is one text or a list of texts. `key_size` is `rsa-2048`, `ec-256` … as the form
        offers them, or a number beside `key_type`. Duplicate names are dropped: an alias that
        repeats the common name or another alias adds nothing to the certificate.
        """
        return cls(**_parse(raw))

    @property
    def names(self) -> tuple[str, ...]:
        """Every host name and IP address of the certificate, the common name first."""
        return (self.common_name, *self.aliases)

    @property
    def key_choice(self) -> str:
        """The kind of key as the form names it, such as `rsa-2048`."""
        return f"{self.key_type}-{self.key_size}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON column."""
        return {**asdict(self), "aliases": list(self.aliases)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The spec that `to_json` wrote; raises `SpecError` when somebody has tampered with it."""
        return cls.parse(data)


def key_choices() -> list[str]:
    """Every kind of key on offer: `rsa-2048` … `ec-384`."""
    return [f"{kind}-{size}" for kind, sizes in KEY_SIZES.items() for size in sizes]


def _parse(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The normalised value of every field; raises `SpecError` with all problems together."""
    values: dict[str, Any] = {}
    errors: list[FieldProblem] = []
    for name, read in _READERS.items():
        try:
            values[name] = read(_text(raw, name))
        except Refused as refused:
            errors.append(FieldProblem(name, refused.code, refused.params))
    try:
        kind, size = _text(raw, "key_type"), _text(raw, "key_size")
        values["key_type"], values["key_size"] = _key(kind, size)
    except Refused as refused:
        errors.append(FieldProblem("key_size", refused.code, refused.params))
    values["aliases"], refusals = _aliases(raw.get("aliases"), values.get("common_name", ""))
    errors += [FieldProblem("aliases", refused.code, refused.params) for refused in refusals]
    if errors:
        raise SpecError(errors)
    return values


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Refused("not_text")


def _required(value: str) -> str:
    if not value.strip(BLANKS):
        raise Refused("required")
    return value


def _country(value: str) -> str:
    code = half_width(_required(value))
    if not re.fullmatch(r"[A-Za-z]{2}", code, re.ASCII):
        raise Refused("country_code")
    return code.upper()


def _subject_text(limit: int, *, required: bool = True) -> Callable[[str], str]:
    def read(value: str) -> str:
        return normalise_text(_required(value) if required else value, limit)

    return read


def _common_name(value: str) -> str:
    name = normalise_name(_required(value))
    if len(name) > MAX_COMMON_NAME:
        raise Refused("common_name_too_long", limit=MAX_COMMON_NAME, length=len(name))
    return name


def _email(value: str) -> str:
    return normalise_email(value) if value.strip(BLANKS) else ""


def _days(value: str) -> int:
    text = half_width(_required(value))
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise Refused("days_number", maximum=MAX_DAYS)
    days = int(text)
    if not 1 <= days <= MAX_DAYS:
        raise Refused("days_range", maximum=MAX_DAYS)
    return days


def _key(key_type: str, key_size: str) -> tuple[str, int]:
    kind, size = half_width(key_type).lower(), half_width(key_size).lower()
    if "-" in size:
        choice = size
    elif kind and not size:
        choice = f"{kind}-{DEFAULT_KEY_SIZES.get(kind, '')}"
    else:
        choice = f"{kind or 'rsa'}-{_required(size)}"
    if choice not in key_choices() or (kind and not choice.startswith(f"{kind}-")):
        raise Refused("key_choice")
    kind, _, size = choice.partition("-")
    return kind, int(size)


def _aliases(raw: Any, common_name: str) -> tuple[tuple[str, ...], list[Refused]]:
    """The further names, without repetitions, and why others were refused."""
    texts = [""] if raw is None else [raw] if isinstance(raw, str) else raw
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        return (), [Refused("not_text")]
    words = dict.fromkeys(
        word for text in texts for word in _SEPARATORS.split(text[:_MAX_ALIAS_TEXT]) if word
    )
    too_much_text = sum(map(len, texts)) > _MAX_ALIAS_TEXT
    if too_much_text or len(words) > _MAX_ALIAS_WORDS:
        return (), [Refused("too_many_names", limit=MAX_NAMES, count=max(len(words), MAX_NAMES))]
    names: dict[str, None] = {}
    refusals: list[Refused] = []
    for word in words:
        try:
            names[normalise_name(word)] = None
        except Refused as refused:
            refusals.append(refused)
    names.pop(common_name, None)
    if len(names) + 1 > MAX_NAMES:
        refusals.append(Refused("too_many_names", limit=MAX_NAMES, count=len(names) + 1))
    return tuple(names), refusals[:_MAX_REFUSALS]


_READERS: Mapping[str, Callable[[str], Any]] = {
    "country": _country,
    "state": _subject_text(MAX_STATE),
    "locality": _subject_text(MAX_STATE),
    "organization": _subject_text(MAX_ORGANIZATION),
    "organizational_unit": _subject_text(MAX_ORGANIZATION, required=False),
    "common_name": _common_name,
    "email": _email,
    "days": _days,
}
