"""Host names, IP addresses, e-mail addresses and subject texts in the one form we put on record.

Each `normalise_*` returns that form, or raises `Refused` with a code and its parameters.
The rules are our own because the cryptography package signs nearly anything: names with
newlines, `a.*.*`, empty host names, IPv4-mapped addresses.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Mapping

import idna

MAX_HOST_NAME = 253  # RFC 1035 section 2.3.4 without the root dot
MAX_LABEL = 63
MAX_EMAIL = 254  # RFC 5321 section 4.5.3.1.3 as corrected by erratum 1690
MAX_LOCAL_PART = 64  # RFC 5321 section 4.5.3.1.1

# What a Japanese input method types for ASCII: full-width forms and the ideographic space.
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
BLANKS = " \t\u00a0\u3000"
LAYOUT = str.maketrans("\r\n\t", "   ")  # control characters that a text of several lines may have

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_ADDRESS_LIKE = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*", re.ASCII)
_UNWANTED = {
    "Cc": "control_character",
    "Zl": "control_character",
    "Zp": "control_character",
    "Cf": "format_character",
    "Cs": "unknown_character",
    "Cn": "unknown_character",
    "Co": "private_character",
}


class Refused(ValueError):
    """A value that cannot go into a certificate: the code says why, the parameters what."""

    def __init__(self, code: str, **params: str | int) -> None:
        super().__init__(code)
        self.code = code
        self.params: Mapping[str, str | int] = params


def half_width(value: str) -> str:
    """Full-width forms as ASCII, without the blanks around them."""
    return value.translate(FULL_WIDTH).strip(BLANKS)


def refuse_unwanted_characters(value: str) -> None:
    """Raise `Refused` for the first character nobody can see, read or trust."""
    for character in value:
        code = _UNWANTED.get(unicodedata.category(character))
        if code:
            raise Refused(code, character=f"U+{ord(character):04X}")


def normalise_text(value: str, limit: int) -> str:
    """A subject text (organisation, locality …) in NFC; at most `limit` characters."""
    text = unicodedata.normalize("NFC", value.strip(BLANKS))
    refuse_unwanted_characters(text)
    if len(text) > limit:
        raise Refused("too_long", limit=limit, length=len(text))
    return text


def normalise_lines(value: str) -> str:
    """A text of several lines in NFC."""
    text = unicodedata.normalize("NFC", value)
    refuse_unwanted_characters(text.translate(LAYOUT))
    return text


def normalise_name(value: str) -> str:
    """A host name as lower-case A-labels, or an IP address in its canonical text."""
    text = half_width(value)
    refuse_unwanted_characters(text)
    if not text:
        raise Refused("name_empty")
    if ":" in text or "%" in text:
        return _normalise_ipv6(text)
    name = _to_a_labels(text)
    if _ADDRESS_LIKE.fullmatch(name.rpartition(".")[2]):
        return _normalise_ipv4(name)
    return name


def normalise_email(value: str) -> str:
    """An e-mail address with its domain as A-labels; the local part stays as it was typed."""
    text = half_width(value)
    refuse_unwanted_characters(text)
    local_part, at, domain = text.rpartition("@")
    if not at or not local_part or not domain:
        raise Refused("email_form", value=_short(text))
    if not _LOCAL_PART.fullmatch(local_part) or len(local_part) > MAX_LOCAL_PART:
        raise Refused("email_local_part", value=_short(local_part), limit=MAX_LOCAL_PART)
    try:
        host = normalise_name(domain)
    except Refused as refused:
        raise Refused("email_domain", value=_short(domain)) from refused
    if host.startswith("*.") or is_ip_address(host):
        raise Refused("email_domain", value=_short(domain))
    address = f"{local_part}@{host}"
    if len(address) > MAX_EMAIL:
        raise Refused("too_long", limit=MAX_EMAIL, length=len(address))
    return address


def is_ip_address(name: str) -> bool:
    """Whether a normalised name is an IP address rather than a host name."""
    return ":" in name or bool(_ADDRESS_LIKE.fullmatch(name.rpartition(".")[2]))


def to_unicode(name: str) -> str:
    """A normalised host name as people read it: its A-labels decoded where that is possible."""
    if "xn--" not in name:
        return name
    prefix, bare = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return prefix + idna.decode(bare)
    except idna.IDNAError:
        return name


def _normalise_ipv4(text: str) -> str:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise Refused("ip_invalid", value=_short(text)) from error
    if address.is_unspecified:
        raise Refused("ip_unspecified", value=str(address))
    return str(address)


def _normalise_ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError as error:
        code = "ip_invalid" if text.count(":") > 1 else "name_with_port"
        raise Refused(code, value=_short(text)) from error
    if "%" in text:
        raise Refused("ip_zone", value=_short(text))
    if address.ipv4_mapped:
        raise Refused("ip_mapped", value=str(address), plain=str(address.ipv4_mapped))
    if address.is_unspecified:
        raise Refused("ip_unspecified", value=str(address))
    return address.compressed


def _to_a_labels(text: str) -> str:
    if len(text) > MAX_HOST_NAME + 1:
        raise Refused("name_too_long", limit=MAX_HOST_NAME, length=len(text))
    wildcard = text.startswith("*.")
    bare = text[2:] if wildcard else text
    if "*" in bare:
        raise Refused("wildcard_position", value=_short(text))
    name = _ascii_name(bare, text).removesuffix(".")
    labels = name.split(".")
    for label in labels:
        if not label:
            raise Refused("name_empty_label", value=_short(text))
        if len(label) > MAX_LABEL:
            raise Refused("label_too_long", limit=MAX_LABEL, value=_short(label))
        if not _LABEL.fullmatch(label):
            raise Refused("name_characters", value=_short(text))
        if label.startswith("xn--"):
            _refuse_wrong_a_label(label)
    if wildcard:
        if len(labels) < 2 or _ADDRESS_LIKE.fullmatch(labels[-1]):
            raise Refused("wildcard_labels", value=_short(text))
        name = f"*.{name}"
    if len(name) > MAX_HOST_NAME:
        raise Refused("name_too_long", limit=MAX_HOST_NAME, length=len(name))
    return name


def _ascii_name(bare: str, text: str) -> str:
    if bare.isascii():
        return bare.lower()
    try:
        mapped = idna.uts46_remap(bare, std3_rules=True, transitional=False)
        return ".".join(
            label if label.isascii() else idna.alabel(label).decode("ascii")
            for label in mapped.split(".")
        )
    except idna.IDNAError as error:
        if "too long" in str(error).lower():
            raise Refused("label_too_long", limit=MAX_LABEL, value=_short(text)) from error
        raise Refused("name_not_international", value=_short(text)) from error


def _refuse_wrong_a_label(label: str) -> None:
    """An A-label has to decode, and to be what its decoded form encodes to (RFC 5891 4.4)."""
    try:
        if idna.alabel(idna.ulabel(label)).decode("ascii") == label:
            return
    except (idna.IDNAError, UnicodeError):
        pass
    raise Refused("name_not_international", value=_short(label))


def _short(value: str) -> str:
    """A value that fits into a sentence."""
    return value if len(value) <= 64 else value[:63] + "…"
