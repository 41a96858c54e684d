"""What of a certificate file may be shown to anybody.

OpenSSL looks for certificates in `server.cert` and passes over everything else, so on a host that
file may hold the private key too, or whatever somebody has put there.
"""

import re

from cryptography.hazmat.primitives.serialization import Encoding

from certs.pair import PairError, load_certificates

__all__ = ["holds_key", "is_private", "public_part"]

# The label of every form of PEM, and the headline of `openssl pkey -text`.
_KEY = re.compile(rb"private[ _-]?key", re.IGNORECASE)


def public_part(pem: bytes) -> bytes:
    """The certificates alone: the file itself where it holds nothing else but white space, or else
    written anew; empty where it cannot be read as certificates."""
    try:
        certificates = load_certificates(pem)
    except PairError:
        return b""
    anew = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    return pem if b"".join(pem.split()) == b"".join(anew.split()) else anew


def holds_key(pem: bytes) -> bool:
    """Whether the file seems to hold a private key beside its certificates."""
    return _KEY.search(pem) is not None


def is_private(pem: bytes) -> bool:
    """Whether only the owner should read the file: it holds a key, or nobody knows what it is."""
    return holds_key(pem) or not public_part(pem)
