"""What a key file and a certificate file hold, and whether XMail can serve TLS with the two.

Pure parsing of bytes as they lie on a host; nothing here needs an openssl command.
The rules are those of the server (docs/xmail.md): PEM only, no passphrase, LF or CRLF, a BOM and
text before the PEM allowed, the leaf first in a chain. Somebody who can write on one host chooses
the bytes, so the work is bounded: nothing is parsed that is larger than such a file can be.
"""

import binascii
import re
import ssl
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from certs.certificate_text import MALFORMED, certificate_text, validity
from certs.facts import CertificateFacts, chain_facts, spki
from certs.private_key import MOST_RSA_BITS, consistent, is_served_kind, too_long

__all__ = [
    "MOST_BUNDLE",
    "MOST_CERTIFICATE",
    "MOST_KEY",
    "MOST_RSA_BITS",
    "CertificateFacts",
    "PairError",
    "PairState",
    "StateCode",
    "check",
    "facts",
    "fingerprint_sha256",
    "load_certificates",
    "load_key",
    "matches",
    "text",
]

StateCode = Literal[
    "ok",
    "none",
    "missing_key",
    "missing_certificate",
    "bad_key",
    "bad_certificate",
    "large_key",
    "large_certificate",
    "long_key",
    "encrypted_key",
    "weak_key",
    "weak_signature",
    "mismatch",
]

# OpenSSL 3 at security level 2 (the default of Debian, and of OpenSSL from 3.2 on).
# It asks for 112 bits of security and rounds; the bounds were measured with OpenSSL 3.0.
MIN_RSA_BITS = 1963
MIN_EC_BITS = 224

# Bytes. A key of 8192 bits takes 6 kB, a long chain with its text 50 kB, the CA certificates that
# an operating system brings along 220 kB.
MOST_KEY = 64 * 1024
MOST_CERTIFICATE = 256 * 1024
MOST_BUNDLE = 512 * 1024
# So many certificates are shown to OpenSSL, too, 0.2 ms each: no chain and no bundle has more.
_SHOWN_OF_CHAIN, _SHOWN_OF_BUNDLE = 20, 200

# OpenSSL reads text line by line up to the first BEGIN line that it can use; a BOM may precede it.
_BOM = b"\xef\xbb\xbf"
_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?-----BEGIN (?P<label>[A-Z0-9 ]+)-----[ \t]*\r?")
_END = re.compile(rb"-----END (?P<label>[A-Z0-9 ]+)-----[ \t]*\r?")
# Headers such as Proc-Type, then Base64. The cryptography package would overlook other characters.
# Possessive: what one part has taken, none tries again, or a few kilobytes would take minutes.
_BODY = re.compile(rb"(?:[A-Za-z-]++: [^\n]*+\n|[ \t\r]*+\n)*+(?P<base64>[A-Za-z0-9+/=\r\n\t ]*+)")
_KEY_LABELS = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")
_CERTIFICATE_LABELS = (b"CERTIFICATE", b"X509 CERTIFICATE")


class PairError(ValueError):
    """Bytes that are no usable key or certificate; `code` is one of the `StateCode`s."""

    def __init__(self, code: StateCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class PairState:
    """What two files amount to: `code` for the pair, then each file's own code.

    A file's code is "ok", "missing_…", "bad_…", "encrypted_key" or "weak_…". `matches` is None
    unless both files could be read; the facts are those of the leaf certificate, where readable.
    """

    code: StateCode
    key: StateCode
    certificate: StateCode
    matches: bool | None = None
    sha256: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    chain_length: int = 0

    @property
    def usable(self) -> bool:
        """Whether XMail can complete a handshake with these files."""
        return self.code == "ok"


def load_certificates(pem: bytes, most: int = MOST_CERTIFICATE) -> list[x509.Certificate]:
    """Every certificate of the file in its order, the leaf first; raises `PairError`."""
    if len(pem) > most:
        raise PairError("large_certificate")
    blocks = _blocks(pem, _CERTIFICATE_LABELS, "bad_certificate")
    try:
        certificates = [x509.load_pem_x509_certificate(block) for _, block in blocks]
        certificates[0].public_key()
        shown = _SHOWN_OF_BUNDLE if most > MOST_CERTIFICATE else _SHOWN_OF_CHAIN
        for certificate in certificates[:shown]:
            _let_openssl_read(certificate)
    except (*MALFORMED, ssl.SSLError) as error:
        raise PairError("bad_certificate") from error
    return certificates


def load_key(pem: bytes) -> PrivateKeyTypes:
    """The first private key of the file; raises `PairError`, also for one with a passphrase."""
    if len(pem) > MOST_KEY:
        raise PairError("large_key")
    label, block = _blocks(pem, _KEY_LABELS, "bad_key")[0]
    if label == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in block:
        raise PairError("encrypted_key")
    if label == b"PRIVATE KEY" and not is_served_kind(_der(block)):
        raise PairError("bad_key")  # DSA, Diffie-Hellman: no TLS 1.2 or 1.3 suite uses them
    try:
        key = serialization.load_pem_private_key(
            block, password=None, unsafe_skip_rsa_key_validation=True
        )
    except MALFORMED:
        raise PairError("bad_key") from None  # the cause could quote the key
    if isinstance(key, rsa.RSAPrivateKey):
        if too_long(key):
            raise PairError("long_key")
        if not consistent(key):
            raise PairError("bad_key")
    return key


def matches(key_pem: bytes, certificate_pem: bytes) -> bool:
    """Whether the key is the one of the leaf certificate; False when either cannot be read."""
    try:
        key, leaf = load_key(key_pem), load_certificates(certificate_pem)[0]
    except PairError:
        return False
    return spki(key.public_key()) == spki(leaf.public_key())


def fingerprint_sha256(pem: bytes) -> str:
    """SHA-256 of the leaf's DER in lower-case hexadecimal; raises `PairError`."""
    return load_certificates(pem)[0].fingerprint(hashes.SHA256()).hex()


def check(key_pem: bytes | None, certificate_pem: bytes | None) -> PairState:
    """What the two files (None: there is no such file) amount to for XMail. Never raises.

    Only a handshake is proof: damage within an extension goes unnoticed here.
    """
    key_code, public_key = _check_key(key_pem)
    certificate_code, chain = _check_certificate(certificate_pem)
    matching = None
    if public_key is not None and chain:
        matching = spki(public_key) == spki(chain[0].public_key())
    not_before, not_after = validity(chain[0]) if chain else (None, None)
    return PairState(
        code=_pair_code(key_code, certificate_code, matching),
        key=key_code,
        certificate=certificate_code,
        matches=matching,
        sha256=chain[0].fingerprint(hashes.SHA256()).hex() if chain else "",
        not_before=not_before,
        not_after=not_after,
        chain_length=len(chain),
    )


def facts(pem: bytes) -> CertificateFacts:
    """What the leaf certificate says; raises `PairError` when there is none to be read."""
    try:
        return chain_facts(load_certificates(pem))
    except PairError:
        raise
    except MALFORMED as error:
        raise PairError("bad_certificate") from error


def text(pem: bytes) -> str:
    """Every certificate of the file in the layout of `openssl x509 -text`; raises `PairError`."""
    try:
        return "\n".join(map(certificate_text, load_certificates(pem)))
    except PairError:
        raise
    except MALFORMED as error:
        raise PairError("bad_certificate") from error


def _blocks(pem: bytes, labels: tuple[bytes, ...], bad: StateCode) -> list[tuple[bytes, bytes]]:
    """Label and text of each PEM block with one of `labels`; raises `PairError(bad)`."""
    lines = pem.split(b"\n")
    ends: dict[bytes, list[int]] = defaultdict(list)
    for at, line in enumerate(lines):
        if end := _END.fullmatch(line):
            ends[end["label"]].append(at)
    found, next_line = [], 0
    for at, line in enumerate(lines):
        if at < next_line or not (begin := _BEGIN.fullmatch(line)):
            continue
        known = ends[begin["label"]]
        if (number := bisect_left(known, at)) == len(known):
            continue  # it has no end: a later one may have
        next_line = known[number] + 1
        if begin["label"] not in labels:
            continue
        if not _BODY.fullmatch(b"".join(each + b"\n" for each in lines[at + 1 : next_line - 1])):
            raise PairError(bad)
        block = b"\n".join(lines[at:next_line])
        found.append((begin["label"], block.removeprefix(_BOM)))
    if not found:
        raise PairError(bad)
    return found


def _der(block: bytes) -> bytes:
    """What the Base64 of a PEM block says; empty if it says nothing."""
    body = _BODY.match(block, block.index(b"\n") + 1)
    try:
        return binascii.a2b_base64(body["base64"] if body else b"")
    except binascii.Error:
        return b""


def _let_openssl_read(certificate: x509.Certificate) -> None:
    """Raises ssl.SSLError for what the cryptography package takes and OpenSSL does not.

    The package looks into names and extensions only when asked, and is stricter there than OpenSSL.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate.public_bytes(serialization.Encoding.DER))


def _check_key(pem: bytes | None) -> tuple[StateCode, PublicKeyTypes | None]:
    if pem is None:
        return "missing_key", None
    try:
        public_key = load_key(pem).public_key()
    except PairError as error:
        return error.code, None
    if not isinstance(
        public_key,
        rsa.RSAPublicKey
        | ec.EllipticCurvePublicKey
        | ed25519.Ed25519PublicKey
        | ed448.Ed448PublicKey,
    ):
        return "bad_key", None  # DSA, Diffie-Hellman: no TLS 1.2 or 1.3 suite uses them
    return ("weak_key" if _is_weak(public_key) else "ok"), public_key


def _check_certificate(pem: bytes | None) -> tuple[StateCode, list[x509.Certificate]]:
    if pem is None:
        return "missing_certificate", []
    try:
        chain = load_certificates(pem)
    except PairError as error:
        return error.code, []
    if _is_weak(chain[0].public_key()):
        return "weak_key", chain
    return ("weak_signature" if _weakly_signed(chain[0]) else "ok"), chain


def _is_weak(key: PublicKeyTypes) -> bool:
    """Whether OpenSSL 3 refuses to serve a key of this size."""
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        return key.key_size < MIN_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < MIN_EC_BITS


def _weakly_signed(certificate: x509.Certificate) -> bool:
    """Whether OpenSSL 3 refuses the signature; nobody checks the one on a self-signed leaf."""
    try:
        digest = certificate.signature_hash_algorithm
        return (
            isinstance(digest, hashes.SHA1 | hashes.MD5)
            and certificate.issuer != certificate.subject
        )
    except MALFORMED:
        return False


def _pair_code(key: StateCode, certificate: StateCode, matching: bool | None) -> StateCode:
    if key == "missing_key":
        return "none" if certificate == "missing_certificate" else "missing_key"
    if certificate == "missing_certificate":
        return "missing_certificate"
    for code in (key, certificate):
        if code.startswith(("bad_", "encrypted_", "large_", "long_")):
            return code
    if matching is False:
        return "mismatch"
    return certificate if key == "ok" else key
