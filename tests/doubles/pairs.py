"""Key and certificate pairs for tests, made without the product's own code."""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Pair:
    """One key and the certificate made for it, both PEM."""

    key: bytes
    certificate: bytes

    @property
    def der(self) -> bytes:
        """The leaf certificate's DER."""
        leaf = x509.load_pem_x509_certificate(self.certificate)
        return leaf.public_bytes(serialization.Encoding.DER)

    @property
    def sha256(self) -> str:
        """The leaf certificate's fingerprint in lower-case hexadecimal."""
        return x509.load_pem_x509_certificate(self.certificate).fingerprint(hashes.SHA256()).hex()


def make_pair(
    name: str = "a.test",
    *,
    kind: str = "p256",
    aliases: Sequence[str] | None = None,
    not_before: dt.datetime | None = None,
    not_after: dt.datetime | None = None,
    ca: bool = False,
    password: bytes | None = None,
) -> Pair:
    """A fresh self-signed pair; `kind` is p256, p384, ed25519, rsa1024 or rsa2048."""
    key = _rsa(kind) if kind.startswith("rsa") else _small(kind)
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or now - dt.timedelta(minutes=1))
        .not_valid_after(not_after or now + dt.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    names = [name] if aliases is None else aliases
    if names:
        san = x509.SubjectAlternativeName([x509.DNSName(alias) for alias in names])
        builder = builder.add_extension(san, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(key, algorithm)
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        protection = serialization.BestAvailableEncryption(password)
    return Pair(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )


def _small(kind: str) -> Key:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


@lru_cache(maxsize=8)
def _rsa(kind: str) -> rsa.RSAPrivateKey:
    """One key a size and test run: making RSA keys is slow."""
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def dated(not_before: str, not_after: str) -> tuple[bytes, bytes]:
    """A key, and a certificate with these moments in it; its signature is not right any more."""
    known = dt.datetime(2050, 1, 1, tzinfo=dt.UTC), dt.datetime(2051, 1, 1, tzinfo=dt.UTC)
    made = make_pair("mail.dojo.jp", not_before=known[0], not_after=known[1])
    body = re.sub(rb"-----.*?-----|\s", b"", made.certificate)
    der = base64.b64decode(body)
    for old, new in zip(known, (not_before, not_after), strict=True):
        der = der.replace(f"{old:%Y%m%d%H%M%SZ}".encode(), new.encode())
    lines = base64.encodebytes(der)
    return made.key, b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n"
