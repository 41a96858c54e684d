"""A certificate as text, in the words and the layout of `openssl x509 -text`, without OpenSSL.

Japanese stays readable, as with `-nameopt oneline,utf8,-esc_msb`; control characters are escaped.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv6Address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID as EKU
from cryptography.x509.oid import ExtensionOID, NameOID
from cryptography.x509.oid import SignatureAlgorithmOID as Signature

# What the cryptography package raises, now here, now there, over a certificate gone wrong.
MALFORMED = (
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)

_ATTRIBUTES = {
    NameOID.COUNTRY_NAME: "C",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.LOCALITY_NAME: "L",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.COMMON_NAME: "CN",
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.STREET_ADDRESS: "street",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GN",
    NameOID.TITLE: "title",
    NameOID.USER_ID: "UID",
}
_SIGNATURES = {
    Signature.RSA_WITH_MD5: "md5WithRSAEncryption",
    Signature.RSA_WITH_SHA1: "sha1WithRSAEncryption",
    Signature.RSA_WITH_SHA224: "sha224WithRSAEncryption",
    Signature.RSA_WITH_SHA256: "sha256WithRSAEncryption",
    Signature.RSA_WITH_SHA384: "sha384WithRSAEncryption",
    Signature.RSA_WITH_SHA512: "sha512WithRSAEncryption",
    Signature.RSASSA_PSS: "rsassaPss",
    Signature.ECDSA_WITH_SHA1: "ecdsa-with-SHA1",
    Signature.ECDSA_WITH_SHA224: "ecdsa-with-SHA224",
    Signature.ECDSA_WITH_SHA256: "ecdsa-with-SHA256",
    Signature.ECDSA_WITH_SHA384: "ecdsa-with-SHA384",
    Signature.ECDSA_WITH_SHA512: "ecdsa-with-SHA512",
    Signature.ED25519: "ED25519",
    Signature.ED448: "ED448",
}
_CURVES = {
    "secp256r1": ("prime256v1", "P-256"),
    "secp384r1": ("secp384r1", "P-384"),
    "secp521r1": ("secp521r1", "P-521"),
    "secp224r1": ("secp224r1", "P-224"),
    "secp192r1": ("prime192v1", "P-192"),
}
_EXTENSIONS = {
    ExtensionOID.BASIC_CONSTRAINTS: "X509v3 Basic Constraints",
    ExtensionOID.KEY_USAGE: "X509v3 Key Usage",
    ExtensionOID.EXTENDED_KEY_USAGE: "X509v3 Extended Key Usage",
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: "X509v3 Subject Alternative Name",
    ExtensionOID.ISSUER_ALTERNATIVE_NAME: "X509v3 Issuer Alternative Name",
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: "X509v3 Subject Key Identifier",
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: "X509v3 Authority Key Identifier",
    ExtensionOID.CRL_DISTRIBUTION_POINTS: "X509v3 CRL Distribution Points",
    ExtensionOID.CERTIFICATE_POLICIES: "X509v3 Certificate Policies",
    ExtensionOID.NAME_CONSTRAINTS: "X509v3 Name Constraints",
    ExtensionOID.AUTHORITY_INFORMATION_ACCESS: "Authority Information Access",
    ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS: "CT Precertificate SCTs",
    ExtensionOID.TLS_FEATURE: "TLS Feature",
}
_KEY_USAGES = {
    "digital_signature": "Digital Signature",
    "content_commitment": "Non Repudiation",
    "key_encipherment": "Key Encipherment",
    "data_encipherment": "Data Encipherment",
    "key_agreement": "Key Agreement",
    "key_cert_sign": "Certificate Sign",
    "crl_sign": "CRL Sign",
    "encipher_only": "Encipher Only",
    "decipher_only": "Decipher Only",
}
_PURPOSES = {
    EKU.SERVER_AUTH: "TLS Web Server Authentication",
    EKU.CLIENT_AUTH: "TLS Web Client Authentication",
    EKU.CODE_SIGNING: "Code Signing",
    EKU.EMAIL_PROTECTION: "E-mail Protection",
    EKU.TIME_STAMPING: "Time Stamping",
    EKU.OCSP_SIGNING: "OCSP Signing",
    EKU.ANY_EXTENDED_KEY_USAGE: "Any Extended Key Usage",
}
UNREADABLE = "<unreadable>"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NEEDS_QUOTES = frozenset(",+<>;")


def certificate_text(certificate: x509.Certificate) -> str:
    """The full text view of one certificate."""
    return "\n".join(_lines(certificate)) + "\n"


def name_text(name: x509.Name) -> str:
    """A subject or issuer in one line: `C = JP, O = …`."""
    parts = (
        " + ".join(f"{_attribute(each.oid)} = {_value(each.value)}" for each in rdn)
        for rdn in name.rdns
    )
    return ", ".join(parts)


def subject_text(certificate: x509.Certificate) -> str:
    """The subject in one line."""
    try:
        return name_text(certificate.subject)
    except MALFORMED:
        return UNREADABLE


def validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """The first and the last moment of a certificate, as every time zone can show them.

    RFC 5280 (4.1.2.5) ends in the year 9999 what has no end: in Tokyo that would be a date that
    no calendar has.
    """
    not_before, not_after = _validity(certificate)
    return _within(not_before), _within(not_after)


def issuer_text(certificate: x509.Certificate) -> str:
    """The issuer in one line."""
    try:
        return name_text(certificate.issuer)
    except MALFORMED:
        return UNREADABLE


def signature_text(certificate: x509.Certificate) -> str:
    """The signature algorithm, such as `sha256WithRSAEncryption`."""
    oid = certificate.signature_algorithm_oid
    return _SIGNATURES.get(oid, oid.dotted_string)


def serial_text(serial: int) -> str:
    """A serial number as octets: `0b:d4:84:…`."""
    size = max(1, (abs(serial).bit_length() + 7) // 8)
    return ("-" if serial < 0 else "") + abs(serial).to_bytes(size).hex(":")


def extension_title(extension: x509.Extension[x509.ExtensionType]) -> str:
    """The name of an extension, or its number where it has no name."""
    oid = extension.oid
    return _EXTENSIONS.get(oid, oid.dotted_string)


def extension_text(extension: x509.Extension[x509.ExtensionType]) -> str:
    """The content of an extension, in one line where it is of a kind we know."""
    match extension.value:
        case x509.BasicConstraints(ca=ca, path_length=path_length):
            length = "" if path_length is None else f", pathlen:{path_length}"
            return f"CA:{str(ca).upper()}{length}"
        case x509.KeyUsage() as usage:
            return ", ".join(text for name, text in _KEY_USAGES.items() if _uses(usage, name))
        case x509.ExtendedKeyUsage() as usages:
            return ", ".join(_PURPOSES.get(oid, oid.dotted_string) for oid in usages)
        case x509.SubjectAlternativeName() | x509.IssuerAlternativeName() as names:
            return ", ".join(map(general_name_text, names))
        case x509.SubjectKeyIdentifier(digest=digest):
            return _hex(digest)
        case x509.AuthorityKeyIdentifier(key_identifier=bytes() as identifier):
            return _hex(identifier)
        case value:
            return _hex(value.public_bytes())


def general_name_text(name: x509.GeneralName) -> str:
    """One alternative name with its kind: `DNS:mail.example.jp`."""
    match name:
        case x509.DNSName(value=text):
            return f"DNS:{visible(text)}"
        case x509.RFC822Name(value=text):
            return f"email:{visible(text)}"
        case x509.UniformResourceIdentifier(value=text):
            return f"URI:{visible(text)}"
        case x509.IPAddress(value=IPv6Address() as address):
            groups = (address.packed[at : at + 2] for at in range(0, 16, 2))
            return "IP Address:" + ":".join(f"{int.from_bytes(group):X}" for group in groups)
        case x509.IPAddress(value=address):
            return f"IP Address:{address}"
        case x509.DirectoryName(value=directory):
            return f"DirName:{name_text(directory)}"
        case x509.RegisteredID(value=oid):
            return f"Registered ID:{oid.dotted_string}"
        case _:
            return "othername:<unsupported>"


def visible(text: str) -> str:
    """`text` with everything that cannot be seen, or that misleads the eye, as an escape."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


def _lines(certificate: x509.Certificate) -> Iterator[str]:
    yield "Certificate:"
    yield "    Data:"
    yield f"        Version: {certificate.version.value + 1} (0x{certificate.version.value:x})"
    yield from _serial_lines(certificate.serial_number)
    yield f"        Signature Algorithm: {signature_text(certificate)}"
    yield f"        Issuer: {issuer_text(certificate)}"
    yield "        Validity"
    not_before, not_after = _validity(certificate)
    yield f"            Not Before: {_date(not_before)}"
    yield f"            Not After : {_date(not_after)}"
    yield f"        Subject: {subject_text(certificate)}"
    yield "        Subject Public Key Info:"
    try:
        yield from _key_lines(certificate.public_key())
    except MALFORMED:
        algorithm = certificate.public_key_algorithm_oid.dotted_string
        yield f"            Public Key Algorithm: {algorithm}"
    yield from _extension_lines(certificate)
    yield f"    Signature Algorithm: {signature_text(certificate)}"
    yield "    Signature Value:"
    yield from _wrapped(certificate.signature, 18, " " * 8)


def _serial_lines(serial: int) -> Iterator[str]:
    if 0 <= serial < 1 << 63:
        yield f"        Serial Number: {serial} (0x{serial:x})"
    else:
        yield "        Serial Number:"
        yield f"            {serial_text(serial)}"


def _key_lines(key: PublicKeyTypes) -> Iterator[str]:
    algorithm, indent = " " * 12 + "Public Key Algorithm: ", " " * 16
    match key:
        case rsa.RSAPublicKey():
            numbers = key.public_numbers()
            yield f"{algorithm}rsaEncryption"
            yield f"{indent}Public-Key: ({key.key_size} bit)"
            yield f"{indent}Modulus:"
            size = numbers.n.bit_length() // 8 + 1  # with the sign octet of an ASN.1 integer
            yield from _wrapped(numbers.n.to_bytes(size), 15, indent + "    ")
            yield f"{indent}Exponent: {numbers.e} (0x{numbers.e:x})"
        case ec.EllipticCurvePublicKey():
            yield f"{algorithm}id-ecPublicKey"
            yield f"{indent}Public-Key: ({key.key_size} bit)"
            yield f"{indent}pub:"
            point = key.public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
            yield from _wrapped(point, 15, indent + "    ")
            oid, nist = _CURVES.get(key.curve.name, (key.curve.name, ""))
            yield f"{indent}ASN1 OID: {oid}"
            if nist:
                yield f"{indent}NIST CURVE: {nist}"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            name = "ED25519" if isinstance(key, ed25519.Ed25519PublicKey) else "ED448"
            yield f"{algorithm}{name}"
            yield f"{indent}{name} Public-Key:"
            yield f"{indent}pub:"
            yield from _wrapped(key.public_bytes_raw(), 15, indent + "    ")
        case _:
            yield f"{algorithm}{type(key).__name__}"


def _extension_lines(certificate: x509.Certificate) -> Iterator[str]:
    try:
        extensions = list(certificate.extensions)
    except MALFORMED:
        yield "        X509v3 extensions:"
        yield f"            {UNREADABLE}"
        return
    if extensions:
        yield "        X509v3 extensions:"
    for extension in extensions:
        # OpenSSL leaves the blank after the colon also where nothing follows.
        critical = "critical" if extension.critical else ""
        yield f"            {extension_title(extension)}: {critical}"
        yield f"                {extension_text(extension)}"


def _attribute(oid: x509.ObjectIdentifier) -> str:
    return _ATTRIBUTES.get(oid, oid.dotted_string)


def _value(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return "#" + value.hex().upper()
    text = visible(value.replace("\\", "\\\\").replace('"', '\\"'))
    if _NEEDS_QUOTES & set(value) or value.startswith(" ") or value.endswith(" "):
        return f'"{text}"'
    if value.startswith("#") and len(value) > 1:
        return f'"{text}"'
    return text


def _uses(usage: x509.KeyUsage, name: str) -> bool:
    if name in ("encipher_only", "decipher_only") and not usage.key_agreement:
        return False  # cryptography raises here: the bits mean nothing without key agreement
    return bool(getattr(usage, name))


def _validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """Both moments as they are; the year 0, which Python does not know, as the year 1."""
    try:
        not_before = certificate.not_valid_before_utc
    except ValueError:
        not_before = EARLIEST
    try:
        return not_before, certificate.not_valid_after_utc
    except ValueError:
        return not_before, EARLIEST


def _within(moment: datetime) -> datetime:
    return min(max(moment, EARLIEST), LATEST)


def _date(moment: datetime) -> str:
    # Not strftime: month names must not follow the locale.
    month = _MONTHS[moment.month - 1]
    return f"{month} {moment.day:2d} {moment:%H:%M:%S} {moment.year} GMT"


def _hex(data: bytes) -> str:
    return data.hex(":").upper()


def _wrapped(data: bytes, width: int, indent: str) -> Iterator[str]:
    for at in range(0, len(data), width):
        last = at + width >= len(data)
        yield f"{indent}{data[at : at + width].hex(':')}{'' if last else ':'}"
