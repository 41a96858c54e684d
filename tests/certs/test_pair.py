"""What files amount to: judged as OpenSSL judges them when a server loads them."""

import re
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certs import pair
from certs.issue import IssuedPair
from certs.pair import PairError
from tests.certs.conftest import NOW, examples, tool

PairOf = Callable[[str], IssuedPair]
BOM = b"\xef\xbb\xbf"
PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL  # PKCS#1, SEC 1


@pytest.fixture(scope="module")
def good(pair_of: PairOf) -> IssuedPair:
    return pair_of("rsa-2048")


@pytest.fixture(scope="module")
def other(pair_of: PairOf) -> IssuedPair:
    return pair_of("ec-256")


def openssl_serves(directory: Path, key: bytes, certificate: bytes) -> bool:
    """Whether OpenSSL, as Python's ssl has it, takes the two files for a server."""
    return openssl_refuses(directory, key, certificate) == ""


def openssl_refuses(directory: Path, key: bytes, certificate: bytes) -> str:
    """What OpenSSL has against serving the two files; empty if nothing."""
    (directory / "server.key").write_bytes(key)
    (directory / "server.cert").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=2")
    try:
        context.load_cert_chain(
            directory / "server.cert", directory / "server.key", password=_no_passphrase
        )
    except (ssl.SSLError, ValueError) as error:
        return str(error)
    return ""


def _no_passphrase() -> str:
    raise ValueError("there is nobody to ask")


def pem_of(
    key: CertificateIssuerPrivateKeyTypes, form: serialization.PrivateFormat = PKCS8
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        form,
        serialization.NoEncryption(),
    )


def certificate_of(
    key: CertificateIssuerPrivateKeyTypes,
    signer: CertificateIssuerPrivateKeyTypes | None = None,
    digest: hashes.SHA1 | hashes.SHA256 | None = None,
) -> bytes:
    """A certificate outside our profile; signed by itself unless there is a signer."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old.dojo.jp")])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")]) if signer else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=30))
    )
    signed = builder.sign(signer or key, digest)  # type: ignore[arg-type]
    return signed.public_bytes(serialization.Encoding.PEM)


class TestCheck:
    @pytest.mark.parametrize("kind", ["rsa-2048", "rsa-3072", "rsa-4096", "ec-256", "ec-384"])
    def test_every_pair_we_make_can_be_served(
        self, kind: str, pair_of: PairOf, tmp_path: Path
    ) -> None:
        made = pair_of(kind)
        state = pair.check(made.key_pem, made.certificate_pem)
        assert (state.code, state.key, state.certificate) == ("ok", "ok", "ok")
        assert state.matches
        assert state.usable
        assert state.chain_length == 1
        assert state.sha256 == pair.fingerprint_sha256(made.certificate_pem)
        assert openssl_serves(tmp_path, made.key_pem, made.certificate_pem)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda pem: pem.replace(b"\n", b"\r\n"),
            lambda pem: BOM + pem,
            lambda pem: b"Bag Attributes\n    friendlyName: x\n\n" + pem,
            lambda pem: BOM + "サーバ\r\n".encode() + pem.replace(b"\n", b"\r\n"),
            lambda pem: pem + b"\nand text after it\n",
            lambda pem: pem.rstrip(b"\n"),
        ],
        ids=["crlf", "bom", "text before", "all of it", "text after", "no last line end"],
    )
    def test_forms_that_xmail_accepts(
        self, good: IssuedPair, spoil: Callable[[bytes], bytes], tmp_path: Path
    ) -> None:
        key, certificate = spoil(good.key_pem), spoil(good.certificate_pem)
        assert openssl_serves(tmp_path, key, certificate)
        assert pair.check(key, certificate).code == "ok"
        assert pair.matches(key, certificate)

    def test_pkcs1_sec1_and_ed25519_keys(self, good: IssuedPair, tmp_path: Path) -> None:
        loaded = serialization.load_pem_private_key(good.key_pem, None)
        assert isinstance(loaded, rsa.RSAPrivateKey)
        curve_key = ec.generate_private_key(ec.SECP384R1())
        parameters = subprocess.run(
            [tool("openssl"), "ecparam", "-name", "secp384r1"], capture_output=True, check=True
        ).stdout
        edwards = ed25519.Ed25519PrivateKey.generate()
        curve_certificate = certificate_of(curve_key, digest=hashes.SHA256())
        for key, certificate in (
            (pem_of(loaded, TRADITIONAL), good.certificate_pem),
            (pem_of(curve_key, TRADITIONAL), curve_certificate),
            (parameters + pem_of(curve_key, TRADITIONAL), curve_certificate),
            (pem_of(edwards), certificate_of(edwards)),
            (good.certificate_pem + good.key_pem, good.key_pem + good.certificate_pem),
        ):
            assert pair.check(key, certificate).code == "ok"
            assert openssl_serves(tmp_path, key, certificate)

    def test_a_chain_is_judged_by_its_leaf(self, good: IssuedPair, other: IssuedPair) -> None:
        chain = good.certificate_pem + other.certificate_pem
        state = pair.check(good.key_pem, chain)
        assert (state.code, state.chain_length) == ("ok", 2)
        assert state.sha256 == pair.fingerprint_sha256(good.certificate_pem)
        assert pair.check(other.key_pem, chain).code == "mismatch"

    def test_missing_files(self, good: IssuedPair) -> None:
        assert pair.check(None, None).code == "none"
        assert pair.check(good.key_pem, None).code == "missing_certificate"
        state = pair.check(None, good.certificate_pem)
        assert (state.code, state.certificate, state.matches) == ("missing_key", "ok", None)
        assert state.not_after is not None

    @pytest.mark.parametrize(
        "broken",
        [b"", b"\n", b"hello", BOM, b"\0" * 100, b"-----BEGIN CERTIFICATE-----\n"],
        ids=["empty", "line end", "text", "bom", "zeros", "begin only"],
    )
    def test_files_without_content(self, good: IssuedPair, broken: bytes, tmp_path: Path) -> None:
        assert pair.check(broken, good.certificate_pem).code == "bad_key"
        assert pair.check(good.key_pem, broken).code == "bad_certificate"
        assert not openssl_serves(tmp_path, broken, good.certificate_pem)
        assert not openssl_serves(tmp_path, good.key_pem, broken)
        assert not pair.matches(broken, good.certificate_pem)

    def test_der(self, good: IssuedPair, tmp_path: Path) -> None:
        loaded = serialization.load_pem_private_key(good.key_pem, None)
        key_der = loaded.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        certificate_der = ssl.PEM_cert_to_DER_cert(good.certificate_pem.decode())
        assert pair.check(key_der, good.certificate_pem).code == "bad_key"
        assert pair.check(good.key_pem, certificate_der).code == "bad_certificate"

    @pytest.mark.parametrize("form", [PKCS8, TRADITIONAL], ids=str)
    def test_a_key_with_a_passphrase(
        self, good: IssuedPair, form: serialization.PrivateFormat, tmp_path: Path
    ) -> None:
        loaded = serialization.load_pem_private_key(good.key_pem, None)
        locked = loaded.private_bytes(
            serialization.Encoding.PEM,
            form,
            serialization.BestAvailableEncryption(b"secret"),
        )
        for key in (locked, BOM + locked.replace(b"\n", b"\r\n")):
            assert pair.check(key, good.certificate_pem).code == "encrypted_key"
        assert not openssl_serves(tmp_path, locked, good.certificate_pem)

    def test_the_key_of_another_certificate(
        self, good: IssuedPair, other: IssuedPair, tmp_path: Path
    ) -> None:
        state = pair.check(other.key_pem, good.certificate_pem)
        assert (state.code, state.key, state.certificate) == ("mismatch", "ok", "ok")
        assert state.matches is False
        assert not state.usable
        assert not openssl_serves(tmp_path, other.key_pem, good.certificate_pem)

    @pytest.mark.parametrize("bits", [1024, 1536, 1962])
    def test_short_rsa_keys(self, bits: int, tmp_path: Path) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        certificate = certificate_of(key, digest=hashes.SHA256())
        assert pair.check(pem_of(key), certificate).code == "weak_key"
        assert pair.matches(pem_of(key), certificate)
        assert not openssl_serves(tmp_path, pem_of(key), certificate)

    def test_an_odd_rsa_key_that_openssl_rounds_up(self, tmp_path: Path) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=1963)  # noqa: S505
        certificate = certificate_of(key, digest=hashes.SHA256())
        assert pair.check(pem_of(key), certificate).code == "ok"
        assert openssl_serves(tmp_path, pem_of(key), certificate)

    def test_short_curves(self, tmp_path: Path) -> None:
        key = ec.generate_private_key(ec.SECP192R1())
        certificate = certificate_of(key, digest=hashes.SHA256())
        assert pair.check(pem_of(key), certificate).code == "weak_key"
        assert not openssl_serves(tmp_path, pem_of(key), certificate)

    def test_sha1_matters_unless_self_signed(self, good: IssuedPair, tmp_path: Path) -> None:
        signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        loaded = serialization.load_pem_private_key(good.key_pem, None)
        assert isinstance(loaded, rsa.RSAPrivateKey)
        by_ca = openssl_sha1_certificate(tmp_path, loaded, signer)
        alone = openssl_sha1_certificate(tmp_path, loaded, None)
        assert pair.check(good.key_pem, by_ca).code == "weak_signature"
        assert pair.check(good.key_pem, alone).code == "ok"
        assert not openssl_serves(tmp_path, good.key_pem, by_ca)
        assert openssl_serves(tmp_path, good.key_pem, alone)

    def test_a_kind_of_key_that_tls_has_no_use_for(self, good: IssuedPair) -> None:
        key = dsa.generate_private_key(2048)
        assert pair.check(pem_of(key), good.certificate_pem).key == "bad_key"

    @pytest.mark.filterwarnings("ignore:Attribute's length")
    @examples(2000)
    @given(st.data())
    def test_damaged_files_are_never_called_usable_against_openssl(
        self, good: IssuedPair, other: IssuedPair, tmp_path: Path, data: st.DataObject
    ) -> None:
        """Hardly ever "ok" for what OpenSSL refuses, and no exception whatever the bytes.

        Damage within an extension is the exception that OpenSSL alone finds. The other direction
        holds for whole files only: OpenSSL notices a damaged private number no earlier than in
        the handshake.
        """
        pairs = [good.key_pem, other.key_pem], [good.certificate_pem, other.certificate_pem]
        key, certificate = (mutated(data, data.draw(st.sampled_from(files))) for files in pairs)
        state = pair.check(key, certificate)
        refusal = openssl_refuses(tmp_path, key, certificate)
        if state.usable:
            assert refusal == "" or "INVALID_CERTIFICATE" in refusal
        if key in pairs[0] and certificate in pairs[1]:
            assert state.usable == (refusal == "")
        try:
            pair.facts(certificate)
            pair.text(certificate)
        except PairError as error:
            assert error.code == "bad_certificate"  # noqa: PT017

    def test_other_characters_among_the_base64(self, good: IssuedPair, tmp_path: Path) -> None:
        at = good.certificate_pem.index(b"\n", 30)
        damaged = good.certificate_pem[:at] + b"\v" + good.certificate_pem[at + 1 :]
        for certificate in (damaged, good.certificate_pem + damaged):
            assert pair.check(good.key_pem, certificate).code == "bad_certificate"
            assert not openssl_serves(tmp_path, good.key_pem, certificate)

    @pytest.mark.parametrize(
        ("old", "new", "code"),
        [
            (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x0a", "bad_certificate"),
            (b"\x06\x03\x55\x04\x06\x13\x02", b"\x06\x03\x55\x04\x06\x03\x02", "bad_certificate"),
            (b"\x55\x1d\x0f", b"\x55\x1d\x13", "ok"),
        ],
        ids=["version 11", "a name that is no text", "an extension twice"],
    )
    def test_malformed_certificates_raise_nothing_else(
        self, good: IssuedPair, old: bytes, new: bytes, code: str
    ) -> None:
        content = ssl.PEM_cert_to_DER_cert(good.certificate_pem.decode())
        assert old in content
        damaged = ssl.DER_cert_to_PEM_cert(content.replace(old, new)).encode()
        assert pair.check(good.key_pem, damaged).code == code
        for read in (pair.facts, pair.text):
            with suppress(PairError):
                assert read(damaged)

    @given(st.binary(max_size=200), st.binary(max_size=200))
    def test_any_bytes(self, key: bytes, certificate: bytes) -> None:
        assert pair.check(key, certificate).code == "bad_key"
        assert pair.matches(key, certificate) is False


def mutated(data: st.DataObject, pem: bytes) -> bytes:
    """`pem` with one thing changed, and in half of the cases with none."""
    kind = data.draw(st.sampled_from(["none", "none", "none", "flip", "cut", "insert", "lines"]))
    at = data.draw(st.integers(0, len(pem) - 1))
    if kind == "flip":
        return pem[:at] + bytes([pem[at] ^ (1 << data.draw(st.integers(0, 7)))]) + pem[at + 1 :]
    if kind == "cut":
        return pem[:at]
    if kind == "insert":
        return pem[:at] + data.draw(st.binary(min_size=1, max_size=3)) + pem[at:]
    if kind == "lines":
        lines = pem.splitlines(keepends=True)
        del lines[data.draw(st.integers(0, len(lines) - 1))]
        return b"".join(lines)
    return pem


def openssl_sha1_certificate(
    directory: Path, key: rsa.RSAPrivateKey, signer: rsa.RSAPrivateKey | None
) -> bytes:
    """A certificate signed with SHA-1, which only the openssl command still makes."""
    openssl = tool("openssl")
    (directory / "leaf.key").write_bytes(pem_of(key))
    (directory / "ca.key").write_bytes(pem_of(signer or key))
    base = [openssl, "req", "-x509", "-days", "9", "-sha1", "-key"]
    ca = [*base, "ca.key", "-subj", "/CN=CA", "-out", "ca.cert"]
    leaf = [*base, "leaf.key", "-subj", "/CN=old.dojo.jp", "-out", "leaf.cert"]
    request = [openssl, "req", "-new", "-key", "leaf.key", "-subj", "/CN=old.dojo.jp"]
    sign = [openssl, "x509", "-req", "-sha1", "-days", "9", "-CA", "ca.cert", "-CAkey", "ca.key"]
    for command in (
        [ca, [*request, "-out", "leaf.csr"], [*sign, "-in", "leaf.csr", "-out", "leaf.cert"]]
        if signer
        else [leaf]
    ):
        subprocess.run(command, cwd=directory, capture_output=True, check=True)
    return (directory / "leaf.cert").read_bytes()


class TestFacts:
    def test_everything_is_there(self, good: IssuedPair) -> None:
        facts = pair.facts(good.certificate_pem)
        assert facts.common_name == "mail.dojo.jp"
        assert facts.names == (
            "mail.dojo.jp",
            "dojo.jp",
            "www.soopoo.jp",
            "192.0.2.25",
            "2001:db8::25",
        )
        assert facts.emails == ("postmaster@dojo.jp",)
        assert facts.subject == facts.issuer
        assert "O = エックスメール株式会社" in facts.subject
        assert (facts.key_label, facts.key_size) == ("RSA 2048", 2048)
        assert facts.signature_algorithm == "sha256WithRSAEncryption"
        assert facts.self_signed
        assert not facts.is_ca
        assert len(facts.extensions) == 6
        assert re.fullmatch(r"([0-9a-f]{2}:){10,19}[0-9a-f]{2}", facts.serial)
        assert all(row.value not in ("", ()) for row in facts.rows())

    def test_fingerprints_are_those_of_openssl(self, good: IssuedPair) -> None:
        facts = pair.facts(good.certificate_pem)
        for digest, ours in (("-sha256", facts.sha256), ("-sha1", facts.sha1)):
            command = [tool("openssl"), "x509", "-noout", "-fingerprint", digest]
            shown = subprocess.run(command, input=good.certificate_pem, capture_output=True).stdout
            assert shown.decode().strip().partition("=")[2].replace(":", "").lower() == ours

    @pytest.mark.parametrize(
        ("kind", "label", "algorithm"),
        [
            ("rsa-4096", "RSA 4096", "sha256WithRSAEncryption"),
            ("ec-256", "EC P-256", "ecdsa-with-SHA256"),
            ("ec-384", "EC P-384", "ecdsa-with-SHA384"),
        ],
    )
    def test_kinds_of_key(self, kind: str, label: str, algorithm: str, pair_of: PairOf) -> None:
        facts = pair.facts(pair_of(kind).certificate_pem)
        assert (facts.key_label, facts.signature_algorithm) == (label, algorithm)

    def test_a_certificate_without_alternative_names(self) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        facts = pair.facts(certificate_of(key))
        assert facts.names == ("old.dojo.jp",)
        assert (facts.key_label, facts.signature_algorithm) == ("Ed25519", "ED25519")
        assert facts.extensions == ()

    def test_one_signed_by_another_is_not_self_signed(self, other: IssuedPair) -> None:
        ours = ec.generate_private_key(ec.SECP256R1())
        theirs = ec.generate_private_key(ec.SECP256R1())
        signed = certificate_of(ours, theirs, hashes.SHA256())
        facts = pair.facts(signed + other.certificate_pem)
        assert not facts.self_signed
        assert facts.chain_length == len(facts.chain) == 2

    def test_texts_hold_nothing_that_cannot_be_shown_or_stored(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\0b\n\u202ec")])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 5, NOW, NOW + timedelta(1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("x\n\0")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        facts = pair.facts(certificate.public_bytes(serialization.Encoding.PEM))
        assert facts.common_name == r"a\x00b\n\u202ec"
        assert facts.names == (r"x\n\x00",)
        shown = pair.text(certificate.public_bytes(serialization.Encoding.PEM))
        assert all(line.isprintable() for line in shown.splitlines())

    def test_text_shows_every_certificate_of_a_chain(
        self, good: IssuedPair, other: IssuedPair
    ) -> None:
        shown = pair.text(good.certificate_pem + other.certificate_pem)
        assert shown.count("Certificate:\n    Data:") == 2

    def test_no_certificate(self, good: IssuedPair) -> None:
        for read in (pair.facts, pair.text, pair.fingerprint_sha256, pair.load_certificates):
            with pytest.raises(PairError) as raised:
                read(good.key_pem)
            assert raised.value.code == "bad_certificate"

    def test_an_error_never_quotes_the_key(self, good: IssuedPair) -> None:
        damaged = good.key_pem.replace(b"A", b"B")
        with pytest.raises(PairError) as raised:
            pair.load_key(damaged)
        assert raised.value.__cause__ is None
        assert good.key_pem.splitlines()[3].decode()[:20] not in repr(raised.value)
