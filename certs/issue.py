"""A self-signed pair from a spec: the private key, and the certificate that carries it.

The profile, why it is so and what was seen to accept it: docs/decisions.md.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.names import is_ip_address
from certs.spec import PairSpec

# A portal's clock may be ahead of the clients'; the lifetime counts from this earlier moment.
BACKDATE = timedelta(minutes=5)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class IssuedPair:
    """A new pair as XMail reads it: PKCS#8 without a passphrase, and one certificate, both PEM."""

    key_pem: bytes
    certificate_pem: bytes

    def __repr__(self) -> str:
        return f"IssuedPair(key_pem=<hidden>, certificate_pem={self.certificate_pem!r})"


def issue(spec: PairSpec, now: datetime) -> IssuedPair:
    """A fresh key and its self-signed certificate, valid from `now` for at most `spec.days`."""
    key = generate_key(spec)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    certificate = self_sign(spec, key, now)
    return IssuedPair(key_pem, certificate.public_bytes(serialization.Encoding.PEM))


def generate_key(spec: PairSpec) -> PrivateKey:
    """A new private key of the kind that `spec` asks for."""
    if spec.key_type == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=spec.key_size)
    return ec.generate_private_key(ec.SECP384R1() if spec.key_size == 384 else ec.SECP256R1())


def self_sign(spec: PairSpec, key: PrivateKey, now: datetime) -> x509.Certificate:
    """The certificate of `key`, signed by itself; `now` must know its time zone."""
    if now.tzinfo is None:
        raise ValueError("now must know its time zone")
    name = _subject(spec)
    public_key = key.public_key()
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    not_before = _whole_second(now - BACKDATE)
    # RFC 5280 section 4.1.2.5: both ends belong to the validity, hence the second less.
    not_after = not_before + timedelta(days=spec.days) - timedelta(seconds=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())  # 159 random bits
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(key), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternative_names(spec), critical=False)
        .add_extension(key_identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier),
            critical=False,
        )
    )
    return builder.sign(key, _digest(key))


def _subject(spec: PairSpec) -> x509.Name:
    attributes = [
        (NameOID.COUNTRY_NAME, spec.country),
        (NameOID.STATE_OR_PROVINCE_NAME, spec.state),
        (NameOID.LOCALITY_NAME, spec.locality),
        (NameOID.ORGANIZATION_NAME, spec.organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, spec.organizational_unit),
        (NameOID.COMMON_NAME, spec.common_name),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes if value])


def _alternative_names(spec: PairSpec) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(name)) if is_ip_address(name) else x509.DNSName(name)
        for name in spec.names
    ]
    if spec.email:
        names.append(x509.RFC822Name(spec.email))
    return x509.SubjectAlternativeName(names)


def _key_usage(key: PrivateKey) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=isinstance(key, rsa.RSAPrivateKey),  # an EC key encrypts nothing
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _digest(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size == 384:
        return hashes.SHA384()
    return hashes.SHA256()


def _whole_second(moment: datetime) -> datetime:
    """`moment` rounded up, so that no validity starts earlier than it may."""
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)
