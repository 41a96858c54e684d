"""The certificates with which clients were measured, made anew: one a kind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.models.client_note import CertificateKind

__all__ = ["CASES", "Case", "make_case"]

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
OTHER_NAME = "other.compat.test"
DAYS = 365


@dataclass(frozen=True)
class Case:
    """One certificate with its key, and what a client has to trust to accept it."""

    kind: str
    key_pem: bytes
    certificate_pem: bytes
    trust_pem: bytes
    authority: bool = False
    seclevel1: bool = False


def make_case(kind: str, name: str, now: dt.datetime) -> Case:
    """Returns a new certificate of this kind for a server that clients call `name`."""
    return CASES[CertificateKind(kind)](kind, name, now)


def _rsa(bits: int) -> Callable[[], Key]:
    return lambda: rsa.generate_private_key(65537, bits)


_usual_key = _rsa(2048)


def _case(
    new_key: Callable[[], Key] = _usual_key,
    *,
    san: str | None = "",
    ca: bool = False,
    expired: bool = False,
    signed: bool = False,
    seclevel1: bool = False,
) -> Callable[[str, str, dt.datetime], Case]:
    def make(kind: str, name: str, now: dt.datetime) -> Case:
        key = new_key()
        start = now - dt.timedelta(days=2 * DAYS if expired else 0, minutes=5)
        called = OTHER_NAME if san == OTHER_NAME else name
        builder = _builder(called, key, start).add_extension(
            x509.BasicConstraints(ca=ca, path_length=None), critical=True
        )
        if san is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(called)])
            builder = builder.add_extension(names, critical=False)
        if not ca:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(usage, critical=False)
        authority = _usual_key() if signed else key
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
        builder = builder.add_extension(signer, critical=False)
        issuer = _name("Lab Authority" if signed else called)
        certificate = builder.issuer_name(issuer).sign(authority, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        trust = _authority(authority, start) if signed else pem
        return Case(kind, _key_pem(key), pem, trust, authority=signed, seclevel1=seclevel1)

    return make


def _builder(name: str, key: Key, start: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority(key: Key, start: dt.datetime) -> bytes:
    builder = _builder("Lab Authority", key, start).issuer_name(_name("Lab Authority"))
    certificate = builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    ).sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


CASES = {
    CertificateKind.SELF_SIGNED_SAN: _case(),
    CertificateKind.SANCA: _case(ca=True),
    CertificateKind.NOSAN: _case(san=None),
    CertificateKind.MISMATCH: _case(san=OTHER_NAME),
    CertificateKind.EXPIRED: _case(expired=True),
    CertificateKind.PRIVATE_CA: _case(signed=True),
    CertificateKind.ECDSA: _case(lambda: ec.generate_private_key(ec.SECP256R1())),
    CertificateKind.RSA_4096: _case(_rsa(4096)),
    CertificateKind.RSA_1024: _case(_rsa(1024)),
    CertificateKind.RSA_1024_SECLEVEL1: _case(_rsa(1024), seclevel1=True),
}
