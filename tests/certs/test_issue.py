"""The certificates that come out: their profile, their lifetime, and what OpenSSL reads in them."""

import ipaddress
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from certs.certificate_text import certificate_text
from certs.issue import IssuedPair, PrivateKey, issue, self_sign
from certs.pair import matches
from certs.spec import MAX_DAYS, PairSpec, key_choices
from tests.certs.conftest import NOW, examples, spec, tool
from tests.certs.test_spec import hosts, ipv4, ipv6, kanji, labels, names

Sign = Callable[[PairSpec], x509.Certificate]
PairOf = Callable[[str], IssuedPair]

texts = st.text("株式会社東京Aé,+=#<>\"\\; 'ｶﾅ𠮷", min_size=1, max_size=64).filter(
    lambda text: bool(text.strip(" "))
)
specs = st.builds(
    PairSpec.parse,
    st.fixed_dictionaries(
        {
            "country": st.from_regex(r"\A[A-Z]{2}\Z"),
            "state": texts,
            "locality": texts,
            "organization": texts,
            "organizational_unit": texts | st.just(""),
            "common_name": hosts.filter(lambda host: len(host) <= 64) | ipv4 | ipv6.map(str),
            "aliases": st.lists(
                names.filter(lambda name: max(map(len, name.split("."))) < 40), max_size=8
            ),
            "email": st.builds("{}@{}".format, labels, hosts) | st.just(""),
            "key_size": st.just("ec-256"),
            "days": st.integers(1, MAX_DAYS).map(str),
        }
    ),
)


def load(pair: IssuedPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate_pem)


class TestProfile:
    def test_subject_in_the_order_of_the_tree(self, sign: Sign) -> None:
        certificate = sign(spec())
        assert certificate.issuer == certificate.subject
        assert certificate.subject.rfc4514_string().split(",")[::-1] == [
            "C=JP",
            "ST=東京都",
            "L=渋谷区",
            "O=エックスメール株式会社",
            "OU=開発部",
            "CN=mail.dojo.jp",
        ]

    def test_country_is_a_printable_string(self, sign: Sign) -> None:
        # 06 03 55 04 06: the type countryName; 13 02: a PrintableString of two octets.
        assert bytes.fromhex("0603550406") + b"\x13\x02JP" in sign(spec()).subject.public_bytes()

    def test_an_empty_department_is_left_out(self, sign: Sign) -> None:
        subject = sign(spec(organizational_unit="")).subject
        assert not subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)

    def test_the_email_is_only_an_alternative_name(self, sign: Sign) -> None:
        certificate = sign(spec())
        assert not certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.value.get_values_for_type(x509.RFC822Name) == ["postmaster@dojo.jp"]
        assert not names.critical

    def test_longest_japanese_texts_fit(self, sign: Sign) -> None:
        longest = spec(
            state="都" * 128,
            locality="区" * 128,
            organization="社" * 64,
            organizational_unit="部" * 64,
        )
        subject = sign(longest).subject
        assert [len(str(attribute.value)) for attribute in subject] == [2, 128, 128, 64, 64, 12]

    @pytest.mark.parametrize("kind", key_choices())
    def test_extensions(self, kind: str, pair_of: PairOf) -> None:
        certificate = load(pair_of(kind))
        extensions = {type(each.value): each for each in certificate.extensions}
        assert certificate.version is x509.Version.v3
        assert set(extensions) == {
            x509.BasicConstraints,
            x509.KeyUsage,
            x509.ExtendedKeyUsage,
            x509.SubjectAlternativeName,
            x509.SubjectKeyIdentifier,
            x509.AuthorityKeyIdentifier,
        }
        assert {kind for kind, each in extensions.items() if each.critical} == {
            x509.BasicConstraints,
            x509.KeyUsage,
        }
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert (constraints.ca, constraints.path_length) == (False, None)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.digital_signature
        assert usage.key_encipherment is kind.startswith("rsa")
        assert not any((usage.key_cert_sign, usage.crl_sign, usage.key_agreement))
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        its = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert own == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
        assert (its.key_identifier, its.authority_cert_issuer) == (own.digest, None)

    @pytest.mark.parametrize("kind", key_choices())
    def test_key_and_signature(self, kind: str, pair_of: PairOf) -> None:
        pair = pair_of(kind)
        certificate = load(pair)
        assert pair.key_pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
        assert matches(pair.key_pem, pair.certificate_pem)
        certificate.verify_directly_issued_by(certificate)
        expected = hashes.SHA384 if kind == "ec-384" else hashes.SHA256
        assert isinstance(certificate.signature_hash_algorithm, expected)
        key = serialization.load_pem_private_key(pair.key_pem, None)
        family, _, size = kind.partition("-")
        if family == "rsa":
            assert isinstance(key, rsa.RSAPrivateKey)
            assert (key.key_size, key.public_key().public_numbers().e) == (int(size), 65537)
        else:
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            assert key.curve.name == f"secp{size}r1"

    def test_every_serial_number_is_new_positive_and_of_159_bits(self, sign: Sign) -> None:
        serials = {sign(spec()).serial_number for _ in range(200)}
        assert len(serials) == 200
        assert all(0 < serial < 2**159 for serial in serials)
        assert max(serials).bit_length() == 159

    def test_every_pair_has_a_new_key(self) -> None:
        first, second = issue(spec(key_size="ec-256"), NOW), issue(spec(key_size="ec-256"), NOW)
        assert not matches(first.key_pem, second.certificate_pem)

    def test_repr_and_str_hide_the_key(self, pair_of: PairOf) -> None:
        pair = pair_of("ec-256")
        canary = pair.key_pem.splitlines()[1].decode()
        for shown in (repr(pair), str(pair), f"{pair}", repr([pair]), repr({"pair": pair})):
            assert canary not in shown
            assert "hidden" in shown


class TestLifetime:
    @examples(1000)
    @given(
        st.integers(1, MAX_DAYS),
        st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    )
    def test_never_longer_than_asked_and_never_backdated_more_than_5_minutes(
        self, ec_key: PrivateKey, days: int, now: datetime
    ) -> None:
        certificate = self_sign(spec(days=str(days)), ec_key, now)
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        # Both ends count (RFC 5280 section 4.1.2.5), so the lifetime is a second more.
        assert end - start + timedelta(seconds=1) == timedelta(days=days)
        assert timedelta(0) <= now - start <= timedelta(minutes=5)

    def test_in_any_time_zone(self, ec_key: PrivateKey) -> None:
        tokyo = NOW.astimezone(timezone(timedelta(hours=9)))
        assert (
            self_sign(spec(), ec_key, tokyo).not_valid_before_utc
            == self_sign(spec(), ec_key, NOW).not_valid_before_utc
        )

    def test_a_naive_time_is_refused(self, ec_key: PrivateKey) -> None:
        with pytest.raises(ValueError, match="time zone"):
            self_sign(spec(), ec_key, NOW.replace(tzinfo=None))


class TestAcceptedInput:
    @examples(2000)
    @given(specs)
    def test_openssl_reads_what_was_asked_for(self, ec_key: PrivateKey, content: PairSpec) -> None:
        certificate = self_sign(content, ec_key, NOW)
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = [
            str(name.value)
            for name in alternative.value
            if isinstance(name, x509.DNSName | x509.IPAddress)
        ]
        assert found == list(content.names)
        public_key = ec_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        shown = openssl(certificate, "-text", "-pubkey")
        assert shown == certificate_text(certificate) + public_key.decode()
        # OpenSSL itself finds each name in the certificate it has parsed.
        for name in content.names:
            try:
                ipaddress.ip_address(name)
            except ValueError:
                assert f"DNS:{name}" in shown

    @pytest.mark.parametrize("kind", key_choices())
    def test_openssl_reads_every_kind_of_key(self, kind: str, pair_of: PairOf) -> None:
        pair = pair_of(kind)
        checked = subprocess.run(
            [tool("openssl"), "pkey", "-check", "-noout"], input=pair.key_pem, capture_output=True
        )
        assert b"Key is valid" in checked.stdout + checked.stderr
        certificate = load(pair)
        assert certificate_text(certificate) == openssl(certificate, "-text")

    @examples(100)
    @given(kanji)
    def test_international_names_come_out_as_a_labels(self, ec_key: PrivateKey, label: str) -> None:
        content = spec(aliases=f"{label}.jp")
        certificate = self_sign(content, ec_key, NOW)
        assert f"DNS:{content.aliases[0]}" in openssl(certificate, "-text")
        assert content.aliases[0].isascii()


def openssl(certificate: x509.Certificate, *views: str) -> str:
    """What the real `openssl x509` says."""
    command = [tool("openssl"), "x509", "-noout", *views, "-nameopt", "oneline,utf8,-esc_msb"]
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode()
