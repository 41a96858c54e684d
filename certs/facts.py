"""What a certificate says, as values that a page can show and a list can sort."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import NameOID

from certs.certificate_text import (
    MALFORMED,
    extension_text,
    extension_title,
    issuer_text,
    serial_text,
    signature_text,
    subject_text,
    validity,
    visible,
)

FactValue = str | int | bool | datetime | tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """One line of what a certificate says; certs/problems.py words the label."""

    label: str
    value: FactValue


@dataclass(frozen=True)
class ExtensionFact:
    """An extension of a certificate in OpenSSL's words."""

    title: str
    critical: bool
    text: str


@dataclass(frozen=True)
class CertificateFacts:
    """Everything that the leaf certificate of a file says, ready to be shown.

    No text holds a character that cannot be printed or stored. `names` are the host names and IP
    addresses, from the common name where there is no SAN.
    """

    common_name: str
    names: tuple[str, ...]
    emails: tuple[str, ...]
    subject: str
    issuer: str
    serial: str
    version: int
    not_before: datetime
    not_after: datetime
    key_label: str
    key_size: int
    signature_algorithm: str
    sha256: str
    sha1: str
    spki_sha256: str
    self_signed: bool
    is_ca: bool
    has_san: bool
    extensions: tuple[ExtensionFact, ...]
    chain_length: int
    chain: tuple[str, ...]

    def rows(self) -> list[Fact]:
        """The facts in the order in which a page shows them, without empty ones and extensions."""
        rows = [
            Fact("subject", self.subject),
            Fact("common_name", self.common_name),
            Fact("names", self.names),
            Fact("emails", self.emails),
            Fact("issuer", self.issuer),
            Fact("self_signed", self.self_signed),
            Fact("not_before", self.not_before),
            Fact("not_after", self.not_after),
            Fact("key", self.key_label),
            Fact("signature_algorithm", self.signature_algorithm),
            Fact("serial", self.serial),
            Fact("version", self.version),
            Fact("sha256", self.sha256),
            Fact("sha1", self.sha1),
            Fact("spki_sha256", self.spki_sha256),
            Fact("is_ca", self.is_ca),
            Fact("chain_length", self.chain_length),
            Fact("chain", self.chain if self.chain_length > 1 else ()),
        ]
        return [row for row in rows if row.value not in ("", ())]


def chain_facts(chain: Sequence[x509.Certificate]) -> CertificateFacts:
    """What the first certificate of `chain` says; raises one of `MALFORMED` at worst."""
    leaf = chain[0]
    extensions = _extensions(leaf)
    names, emails = _alternative_names(extensions)
    common_name = _common_name(leaf)
    key = leaf.public_key()
    not_before, not_after = validity(leaf)
    return CertificateFacts(
        common_name=common_name,
        names=names or ((common_name,) if common_name else ()),
        emails=emails,
        subject=subject_text(leaf),
        issuer=issuer_text(leaf),
        serial=serial_text(leaf.serial_number),
        version=leaf.version.value + 1,
        not_before=not_before,
        not_after=not_after,
        key_label=key_label(key),
        key_size=getattr(key, "key_size", 0),
        signature_algorithm=signature_text(leaf),
        sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        sha1=leaf.fingerprint(hashes.SHA1()).hex(),  # noqa: S303  how older clients show it
        spki_sha256=hashlib.sha256(spki(key)).hexdigest(),
        self_signed=_is_self_signed(leaf),
        is_ca=any(isinstance(e.value, x509.BasicConstraints) and e.value.ca for e in extensions),
        has_san=any(isinstance(e.value, x509.SubjectAlternativeName) for e in extensions),
        extensions=tuple(
            ExtensionFact(extension_title(each), each.critical, extension_text(each))
            for each in extensions
        ),
        chain_length=len(chain),
        chain=tuple(subject_text(each) for each in chain),
    )


def key_label(key: PublicKeyTypes) -> str:
    """The kind and size of a key for people: `RSA 2048`, `EC P-256`, `Ed25519`."""
    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePublicKey(curve=curve):
            nist = re.fullmatch(r"secp(\d+)r1", curve.name)
            return f"EC P-{nist[1]}" if nist else f"EC {curve.name}"
        case _:
            return type(key).__name__.removesuffix("PublicKey").removeprefix("_")


def spki(key: PublicKeyTypes) -> bytes:
    """The DER of a public key as it stands in a certificate."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _extensions(certificate: x509.Certificate) -> list[x509.Extension[x509.ExtensionType]]:
    try:
        return list(certificate.extensions)
    except MALFORMED:
        return []  # found on a host and malformed; everything else can still be told


def _alternative_names(
    extensions: list[x509.Extension[x509.ExtensionType]],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names: list[str] = []
    emails: list[str] = []
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            for name in extension.value:
                if isinstance(name, x509.DNSName | x509.IPAddress):
                    names.append(visible(str(name.value)))
                elif isinstance(name, x509.RFC822Name):
                    emails.append(visible(name.value))
    return tuple(names), tuple(emails)


def _common_name(certificate: x509.Certificate) -> str:
    try:
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except MALFORMED:
        return ""
    return visible(str(found[-1].value)) if found else ""


def _is_self_signed(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (*MALFORMED, InvalidSignature):
        return False
    return True
