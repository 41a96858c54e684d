"""Files that are made to keep the portal busy: they are refused before they cost anything."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from certs import pair
from certs.issue import IssuedPair
from tests.certs.test_pair import certificate_of, pem_of

PairOf = Callable[[str], IssuedPair]
#: Exponents of Mersenne primes: keys of any length in a moment.
SHORT, LONG = (3217, 4423), (4423, 9689)


@pytest.fixture(scope="module")
def good(pair_of: PairOf) -> IssuedPair:
    return pair_of("rsa-2048")


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails whoever has the cryptography package parse a key or a certificate."""

    def parse(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(serialization, "load_pem_private_key", parse)
    monkeypatch.setattr(x509, "load_pem_x509_certificate", parse)


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def rsa_numbers(p: int, q: int) -> dict[str, int]:
    d = pow(65537, -1, (p - 1) * (q - 1))
    return {
        "n": p * q, "e": 65537, "d": d, "p": p, "q": q, "dmp1": d % (p - 1), "dmq1": d % (q - 1),
        "iqmp": pow(q, -1, p),
    }  # fmt: skip


def mersenne(exponents: tuple[int, int]) -> dict[str, int]:
    p, q = (2**exponent - 1 for exponent in exponents)
    return rsa_numbers(p, q)


def pkcs1(numbers: dict[str, int]) -> bytes:
    content = base64.encodebytes(der(0x30, b"".join(map(integer, [0, *numbers.values()]))))
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + content + b"-----END RSA PRIVATE KEY-----\n"


def pkcs8(oid: str, *parameters: int) -> bytes:
    """A private key of this kind, whose parameters and secret are these numbers."""
    *public, secret = map(integer, parameters)
    kind = der(0x30, bytes.fromhex(oid) + der(0x30, b"".join(public)))
    content = base64.encodebytes(der(0x30, integer(0) + kind + der(4, secret)))
    return b"-----BEGIN PRIVATE KEY-----\n" + content + b"-----END PRIVATE KEY-----\n"


def loaded(pem: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def cpu_seconds(work: Callable[[bytes], object], data: bytes) -> float:
    began = time.process_time()
    work(data)
    return time.process_time() - began


BEGIN, END = b"-----BEGIN %b-----\n", b"-----END %b-----\n"


class TestSize:
    @pytest.mark.usefixtures("unread")
    def test_a_file_that_is_too_large_is_not_parsed(self, good: IssuedPair) -> None:
        key = good.key_pem + b" " * (pair.MOST_KEY + 1 - len(good.key_pem))
        certificate = good.certificate_pem * (
            pair.MOST_CERTIFICATE // len(good.certificate_pem) + 1
        )
        assert pair.check(key, None).key == "large_key"
        state = pair.check(None, certificate)
        assert (state.certificate, state.sha256) == ("large_certificate", "")
        for read in (pair.facts, pair.text, pair.fingerprint_sha256):
            with pytest.raises(pair.PairError, match="large_certificate"):
                read(certificate)

    def test_what_is_wrong_with_the_pair_is_that_it_is_too_large(self, good: IssuedPair) -> None:
        large = b"#" * (pair.MOST_CERTIFICATE + 1)
        assert pair.check(large, good.certificate_pem).code == "large_key"
        assert pair.check(good.key_pem, large).code == "large_certificate"

    def test_files_with_a_long_text_before_the_pem_are_read(self, good: IssuedPair) -> None:
        text = "サーバ証明書\r\n".encode() * 2000
        assert pair.check(text + good.key_pem, text * 3 + good.certificate_pem).code == "ok"

    def test_a_bundle_of_ca_certificates_may_be_larger(self, good: IssuedPair) -> None:
        bundle = good.certificate_pem * (pair.MOST_CERTIFICATE // len(good.certificate_pem) + 1)
        assert len(pair.load_certificates(bundle, pair.MOST_BUNDLE)) > 100


@pytest.mark.parametrize(
    "shape",
    [
        lambda label, size: BEGIN % label + b"\n" * size + b"!\n" + END % label,
        lambda label, size: BEGIN % label + b"\r\n" * (size // 2) + b"!\n" + END % label,
        lambda label, size: BEGIN % label + b"A" * size + b"!\n" + END % label,
        lambda label, size: BEGIN % label + b"A: B\n\n" * (size // 6) + b"!\n" + END % label,
        lambda label, size: (BEGIN % label) * (size // 30),
        lambda label, size: BEGIN % label + (BEGIN % b"A") * (size // 20) + END % label,
        lambda label, size: (END % label) * (size // 30) + BEGIN % label,
        lambda label, size: b"-----BEGIN " + b" " * size + label,
    ],
    ids=["lines", "crlf", "letters", "headers", "begins", "other begins", "ends", "blanks"],
)
@pytest.mark.parametrize("label", [b"CERTIFICATE", b"PRIVATE KEY"])
def test_twice_the_text_takes_twice_as_long(
    label: bytes, shape: Callable[[bytes, int], bytes]
) -> None:
    def work(text: bytes) -> None:
        state = pair.check(text, text)
        assert (state.key, state.certificate) == ("bad_key", "bad_certificate")

    half, whole = (cpu_seconds(work, shape(label, size)) for size in (30_000, 60_000))
    assert whole < 3 * half + 0.1


class TestKeys:
    def test_an_rsa_key_that_is_too_long(self, good: IssuedPair) -> None:
        for key in (
            pkcs1(mersenne(LONG)),
            pem_of(loaded(pkcs1(mersenne(LONG)))),
        ):
            state = pair.check(key, good.certificate_pem)
            assert (state.code, state.key, state.certificate) == ("long_key", "long_key", "ok")

    def test_long_keys_that_people_have(self) -> None:
        for key, digest in (
            (loaded(pkcs1(mersenne(SHORT))), hashes.SHA256()),
            (ec.generate_private_key(ec.SECP521R1()), hashes.SHA256()),
            (ed448.Ed448PrivateKey.generate(), None),
        ):
            assert pair.check(pem_of(key), certificate_of(key, digest=digest)).code == "ok"

    def test_that_the_factors_are_primes_is_not_proven(self, good: IssuedPair) -> None:
        """That would take a second for this key; it is a handshake that proves it."""
        composite = rsa_numbers(2**4000 - 3, 2**4001 - 5)
        assert pair.check(pkcs1(composite), good.certificate_pem).code == "mismatch"

    @pytest.mark.parametrize("wrong", ["n", "p", "q", "d", "dmp1", "dmq1", "iqmp"])
    def test_rsa_numbers_that_do_not_belong_together(self, wrong: str, good: IssuedPair) -> None:
        numbers = mersenne(SHORT)
        assert pair.check(pkcs1(numbers), good.certificate_pem).code == "mismatch"
        numbers[wrong] -= 2
        assert pair.check(pkcs1(numbers), good.certificate_pem).code == "bad_key"

    def test_a_private_exponent_longer_than_the_key(self, good: IssuedPair) -> None:
        """It works, but whoever falls back to it needs minutes."""
        numbers = mersenne(SHORT)
        numbers["d"] += (numbers["p"] - 1) * (numbers["q"] - 1) * 2**90_000
        assert pair.check(pkcs1(numbers), good.certificate_pem).code == "bad_key"

    @pytest.mark.usefixtures("unread")
    @pytest.mark.parametrize(
        "oid", ["06072a8648ce380401", "06092a864886f70d010301"], ids=["dsa", "diffie-hellman"]
    )
    def test_kinds_that_are_reckoned_with_when_they_are_read(self, oid: str) -> None:
        """DSA: the public key is derived, in minutes for this length. DH raises InternalError."""
        modulus = 2**16_383 - 105
        assert pair.check(pkcs8(oid, modulus, 2**255, 3, modulus // 5), None).key == "bad_key"
