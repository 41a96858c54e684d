"""What a private key must be before anything reckons with it.

Whoever can write on one host chooses the bytes. Libraries prove that the factors of an RSA key are
primes, or derive a public key, when they load one: minutes to hours for a key of some kilobytes, in
which nothing else of this process runs. So nothing is loaded that could take long.
"""

import re

from cryptography.hazmat.primitives.asymmetric import rsa

__all__ = ["MOST_RSA_BITS", "consistent", "is_served_kind", "too_long"]

MOST_RSA_BITS = 8192
_OIDS = b"|".join(
    re.escape(bytes.fromhex(oid))
    for oid in (
        "06092a864886f70d010101",  # RSA
        "06092a864886f70d01010a",  # RSASSA-PSS
        "06072a8648ce3d0201",  # EC
        "06032b6570",  # Ed25519
        "06032b6571",  # Ed448
    )
)
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..)"
_PKCS8 = re.compile(rb"\x30%b\x02\x01[\x00\x01]\x30%b(?:%b)" % (_LENGTH, _LENGTH, _OIDS), re.DOTALL)


def is_served_kind(pkcs8: bytes) -> bool:
    """Whether this PKCS#8 structure, in DER, holds a key of a kind that TLS and SSH still use."""
    return _PKCS8.match(pkcs8) is not None


def too_long(key: rsa.RSAPrivateKey) -> bool:
    """Whether the key is longer than anybody needs, so that each use of it would take seconds."""
    return key.key_size > MOST_RSA_BITS


def consistent(key: rsa.RSAPrivateKey) -> bool:
    """Whether the numbers of a key that is not too long belong together, as OpenSSL checks it.

    Only that the factors are primes is left out: that alone takes a quarter of a second for an
    honest key of 4096 bits. A key without it proves itself in no handshake.
    """
    numbers = key.private_numbers()
    public, p, q = numbers.public_numbers, numbers.p, numbers.q
    return (
        p > 1
        and q > 1
        and numbers.d < public.n  # longer ones work, and take their time
        and p * q == public.n
        and numbers.d * public.e % (p - 1) == 1
        and numbers.d * public.e % (q - 1) == 1
        and numbers.dmp1 == numbers.d % (p - 1)
        and numbers.dmq1 == numbers.d % (q - 1)
        and numbers.iqmp * q % p == 1
    )
