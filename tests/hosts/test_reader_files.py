"""The files of the page for mail users, held against what Apple and the mail programs document."""

from __future__ import annotations

import io
import plistlib
import re
import subprocess
import uuid
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from django.test import Client

from certs.models import Pair
from hosts.models import Host, ReaderPage
from tests.doubles.pairs import make_pair
from tests.hosts.reading import PORTS, host, pair, path_of, users_page

__all__ = ["host", "pair", "users_page"]  # fixtures

pytestmark = pytest.mark.django_db

# Apple's reference, github.com/apple/device-management, mdm/profiles/*.yaml, read at 0a4527c.
# key: (type, required, the values that the reference lists or None). Only keys that may be used in
# a profile that a person installs by hand, and that mean anything without a device management.
Keys = dict[str, tuple[type, bool, tuple[object, ...] | None]]
COMMON: Keys = {  # CommonPayloadKeys.yaml
    "PayloadIdentifier": (str, True, None),
    "PayloadUUID": (str, True, None),
    "PayloadType": (str, True, None),
    "PayloadVersion": (int, True, (1,)),
    "PayloadDescription": (str, False, None),
    "PayloadDisplayName": (str, False, None),
    "PayloadOrganization": (str, False, None),
}
TOP_LEVEL: Keys = COMMON | {  # TopLevel.yaml
    "PayloadType": (str, True, ("Configuration",)),
    "PayloadContent": (list, True, None),
}
AUTHENTICATION = (
    "EmailAuthNone", "EmailAuthPassword", "EmailAuthCRAMMD5", "EmailAuthNTLM", "EmailAuthHTTPMD5",
)  # fmt: skip
MAIL: Keys = COMMON | {  # com.apple.mail.managed.yaml
    "PayloadType": (str, True, ("com.apple.mail.managed",)),
    "EmailAccountDescription": (str, False, None),
    "EmailAccountName": (str, False, None),
    "EmailAccountType": (str, True, ("EmailTypeIMAP", "EmailTypePOP")),
    "EmailAddress": (str, False, None),
    "IncomingMailServerAuthentication": (str, True, AUTHENTICATION),
    "IncomingMailServerHostName": (str, True, None),
    "IncomingMailServerPortNumber": (int, False, None),
    "IncomingMailServerUseSSL": (bool, False, None),
    "IncomingMailServerUsername": (str, False, None),
    "OutgoingMailServerAuthentication": (str, True, AUTHENTICATION),
    "OutgoingMailServerHostName": (str, True, None),
    "OutgoingMailServerPortNumber": (int, False, None),
    "OutgoingMailServerUseSSL": (bool, False, None),
    "OutgoingMailServerUsername": (str, False, None),
    "OutgoingPasswordSameAsIncomingPassword": (bool, False, None),
}
CERTIFICATE: Keys = COMMON | {  # com.apple.security.root.yaml, com.apple.security.pkcs1.yaml
    "PayloadType": (str, True, ("com.apple.security.root", "com.apple.security.pkcs1")),
    "PayloadCertificateFileName": (str, False, None),
    "PayloadContent": (bytes, True, None),
}
# Only in encrypted profiles, or the device asks for it while a person installs the profile.
NEVER = {"IncomingPassword", "OutgoingPassword", "EmailAddress", "EmailAccountName",
         "IncomingMailServerUsername", "OutgoingMailServerUsername"}  # fmt: skip


def check(payload: dict[str, Any], reference: Keys) -> None:
    """Fails for a key that Apple does not document, a wrong type or value, or a missing key."""
    for key, value in payload.items():
        assert key in reference, f"Apple documents no {key}"
        assert key not in NEVER
        kind, _required, values = reference[key]
        assert type(value) is kind, (key, value)  # a bool is no integer here
        assert values is None or value in values, (key, value)
    missing = {key for key, (_kind, required, _values) in reference.items() if required}
    assert missing <= payload.keys()
    assert str(uuid.UUID(payload["PayloadUUID"])).upper() == payload["PayloadUUID"]
    assert re.fullmatch(r"[a-z0-9.-]+", payload["PayloadIdentifier"])


def profile(client: Client, page: ReaderPage, **query: str) -> dict[str, Any]:
    answer = client.get(f"{path_of(page)}mail.mobileconfig", query)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-apple-aspen-config"
    parsed: dict[str, Any] = plistlib.loads(answer.content, fmt=plistlib.FMT_XML)
    return parsed


def test_the_profile_key_by_key(client: Client, users_page: ReaderPage, pair: Pair) -> None:
    found = profile(client, users_page)
    check(found, TOP_LEVEL)
    account, certificate = found["PayloadContent"]
    check(account, MAIL)
    check(certificate, CERTIFICATE)
    assert {key: account[key] for key in account if not key.startswith("Payload")} == {
        "EmailAccountDescription": "Mail at mail.dojo.jp",
        "EmailAccountType": "EmailTypePOP",
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": "mail.dojo.jp",
        "IncomingMailServerPortNumber": 995,
        "IncomingMailServerUseSSL": True,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": "mail.dojo.jp",
        "OutgoingMailServerPortNumber": 465,
        "OutgoingMailServerUseSSL": True,
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
    assert certificate["PayloadType"] == "com.apple.security.root"  # it signed itself
    leaf = x509.load_der_x509_certificate(certificate["PayloadContent"])
    assert leaf.fingerprint(hashes.SHA256()).hex() == pair.sha256
    shown = bytes.fromhex(pair.sha256).hex(":").upper()
    assert shown in found["PayloadDescription"]
    uuids = [found["PayloadUUID"], account["PayloadUUID"], certificate["PayloadUUID"]]
    identifiers = [each["PayloadIdentifier"] for each in (found, account, certificate)]
    assert len(set(uuids)) == len(set(identifiers)) == 3


def test_a_changed_certificate_replaces_the_profile(
    client: Client, users_page: ReaderPage, host: Host
) -> None:
    first, again = profile(client, users_page), profile(client, users_page)
    assert first == again
    Pair.objects.update(certificate=make_pair("mail.dojo.jp").certificate)
    other = profile(client, users_page)
    assert other["PayloadIdentifier"] == first["PayloadIdentifier"]
    assert other["PayloadUUID"] != first["PayloadUUID"]


def test_what_follows_the_certificate_in_its_file_is_given_to_nobody(
    client: Client, users_page: ReaderPage
) -> None:
    """Nobody has compared it, and as a root it would be trusted for every server."""
    leaf, root = make_pair("mail.dojo.jp"), make_pair("root.test")
    Pair.objects.update(certificate=leaf.certificate + root.certificate)
    _account, given = profile(client, users_page)["PayloadContent"]
    assert given["PayloadContent"] == x509.load_pem_x509_certificate(leaf.certificate).public_bytes(
        Encoding.DER
    )
    pem = client.get(f"{path_of(users_page)}certificate.pem").content
    assert pem.split() == leaf.certificate.split()


def test_without_services_the_profile_holds_the_certificate_alone(
    client: Client, users_page: ReaderPage
) -> None:
    Host.objects.update(**dict.fromkeys(PORTS, 0))
    found = profile(client, users_page)
    check(found, TOP_LEVEL)
    assert [each["PayloadType"] for each in found["PayloadContent"]] == ["com.apple.security.root"]


def test_the_certificate_files_are_read_by_openssl(
    client: Client, users_page: ReaderPage, pair: Pair
) -> None:
    for end, form in (("certificate.pem", "PEM"), ("certificate.cer", "DER")):
        answer = client.get(f"{path_of(users_page)}{end}")
        assert answer.headers["Content-Disposition"].startswith("attachment")
        told = subprocess.run(
            ["openssl", "x509", "-inform", form, "-noout", "-fingerprint", "-sha256"],
            input=answer.content, capture_output=True, check=True,
        )  # fmt: skip
        assert bytes.fromhex(pair.sha256).hex(":").upper() in told.stdout.decode()
    assert x509.load_der_x509_certificate(answer.content).public_bytes(Encoding.DER)


# --- Autoconfig: the schema of draft-ietf-mailmaint-autoconfig, and what Thunderbird needs -------

CHILDREN = {
    "clientConfig": {"emailProvider"},
    "emailProvider": {
        "domain", "displayName", "displayShortName", "documentation", "incomingServer",
        "outgoingServer",
    },
    "incomingServer": {"hostname", "port", "socketType", "authentication", "username"},
    "outgoingServer": {"hostname", "port", "socketType", "authentication", "username"},
}  # fmt: skip
ATTRIBUTES = {
    "clientConfig": {"version"},
    "emailProvider": {"id"},
    "incomingServer": {"type"},
    "outgoingServer": {"type"},
}
# What Thunderbird's readFromXML takes: its own lists, and one of each in every server.
VALUES = {
    "socketType": {"plain", "SSL", "STARTTLS"},
    "authentication": {"password-cleartext", "password-encrypted", "OAuth2"},
    "username": {"%EMAILADDRESS%", "%EMAILLOCALPART%"},
}


def conform(element: ET.Element) -> None:
    """Fails for what the schema does not define, and for a server that lacks anything."""
    assert set(element.attrib) == ATTRIBUTES.get(element.tag, set()), element.tag
    children = [child.tag for child in element]
    assert set(children) <= CHILDREN.get(element.tag, set()), element.tag
    if element.tag.endswith("Server"):
        assert sorted(children) == sorted(CHILDREN[element.tag])
        assert element.get("type") == ("pop3" if element.tag == "incomingServer" else "smtp")
    if not children:
        value = element.text or ""
        assert value == value.strip() != ""
        assert value in VALUES.get(element.tag, {value})
        if element.tag == "port":
            assert 1 <= int(value) <= 65535
        if element.tag in ("hostname", "domain"):
            assert re.fullmatch(r"[a-zA-Z0-9.-]+", value)
    for child in element:
        conform(child)


def autoconfig(client: Client, page: ReaderPage) -> ET.Element:
    answer = client.get(f"{path_of(page)}config-v1.1.xml")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/xml; charset=utf-8"
    assert answer.content.startswith(b"<?xml version=")
    return ET.parse(io.BytesIO(answer.content)).getroot()  # noqa: S314  made here


def test_autoconfig_keeps_to_the_schema(client: Client, users_page: ReaderPage) -> None:
    root = autoconfig(client, users_page)
    assert (root.tag, root.get("version")) == ("clientConfig", "1.1")
    conform(root)
    (provider,) = root
    assert provider.get("id") == provider.findtext("domain") == "dojo.jp"
    assert [
        (
            server.get("type"), server.findtext("hostname"), server.findtext("port"),
            server.findtext("socketType"), server.findtext("username"),
        )
        for server in provider
        if server.tag.endswith("Server")
    ] == [
        ("pop3", "mail.dojo.jp", "995", "SSL", "%EMAILADDRESS%"),
        ("pop3", "mail.dojo.jp", "110", "STARTTLS", "%EMAILADDRESS%"),
        ("smtp", "mail.dojo.jp", "465", "SSL", "%EMAILADDRESS%"),
        ("smtp", "mail.dojo.jp", "587", "STARTTLS", "%EMAILADDRESS%"),
    ]  # fmt: skip


def test_autoconfig_with_other_names(client: Client, users_page: ReaderPage) -> None:
    ReaderPage.objects.update(user_name=ReaderPage.UserName.LOCAL, sending_name="smtp.dojo.jp")
    root = autoconfig(client, users_page)
    conform(root)
    assert {each.text for each in root.iter("username")} == {"%EMAILLOCALPART%"}
    assert [each.text for each in root.iter("hostname")] == ["mail.dojo.jp"] * 2 + [
        "smtp.dojo.jp"
    ] * 2


def test_without_a_way_to_send_there_is_no_autoconfig(
    client: Client, users_page: ReaderPage
) -> None:
    Host.objects.update(smtps_port=0, submission_port=0)
    assert client.get(f"{path_of(users_page)}config-v1.1.xml").status_code == 404
