"""What of a certificate file anybody may see."""

from __future__ import annotations

import pytest

from certs.certificate_file import holds_key, is_private, public_part
from tests.doubles.pairs import make_pair

PAIR, OTHER = make_pair("a.test"), make_pair("b.test")
KEY, CERTIFICATE = PAIR.key, PAIR.certificate
CHAIN = CERTIFICATE + OTHER.certificate


@pytest.mark.parametrize(
    "pem",
    [CERTIFICATE, CHAIN, CERTIFICATE.replace(b"\n", b"\r\n"), CERTIFICATE.strip(), b"\n" + CHAIN],
)
def test_certificates_and_white_space_stay_as_they_are(pem: bytes) -> None:
    assert public_part(pem) == pem
    assert not is_private(pem)


@pytest.mark.parametrize(
    ("pem", "public"),
    [
        (KEY + CERTIFICATE, CERTIFICATE),
        (CERTIFICATE + KEY + OTHER.certificate, CHAIN),
        (CHAIN.replace(b"\n", b"\r\n") + KEY, CHAIN),
        (CERTIFICATE + KEY.replace(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"), CERTIFICATE),
        (b"Private-Key: (2048 bit, 2 primes)\n" + CERTIFICATE, CERTIFICATE),
        (CERTIFICATE + KEY[:60], CERTIFICATE),
        (KEY, b""),
        (b"rubbish", b""),
        (b"\x30\x82\x01", b""),
    ],
)
def test_a_key_and_what_nobody_knows_is_private(pem: bytes, public: bytes) -> None:
    assert public_part(pem) == public
    assert is_private(pem)


def test_words_beside_a_certificate_are_not_shown_and_are_no_key() -> None:
    pem = b"subject=CN = a.test\nthe password of the key is secret\n" + CERTIFICATE
    assert public_part(pem) == CERTIFICATE
    assert not holds_key(pem)
    assert not is_private(pem)


def test_headers_within_a_block_are_not_shown() -> None:
    begin = b"-----BEGIN CERTIFICATE-----\n"
    pem = CERTIFICATE.replace(begin, begin + b"Note: secret\n\n")
    assert b"secret" not in public_part(pem)
