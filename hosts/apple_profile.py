"""An Apple configuration profile (.mobileconfig) with the mail account and the certificate.

Keys, types and values are those of Apple's reference, github.com/apple/device-management,
mdm/profiles: TopLevel.yaml, CommonPayloadKeys.yaml, com.apple.mail.managed.yaml,
com.apple.security.root.yaml and com.apple.security.pkcs1.yaml. The profile names no person:
the device asks for name, address, user name and password when it is installed.
"""

from __future__ import annotations

import plistlib
import uuid
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hosts.mail_settings import MailSettings

__all__ = ["CONTENT_TYPE", "ProfileWords", "apple_profile"]

CONTENT_TYPE = "application/x-apple-aspen-config"
NAMESPACE = uuid.UUID("6f2b6d8e-8f0c-5d37-9c1b-0a1f6f1d9a55")  # our own, for uuid5


@dataclass(frozen=True)
class ProfileWords:
    """What the device shows, in one language."""

    name: str
    description: str
    account: str
    certificate: str


def apple_profile(
    server_name: str,
    settings: MailSettings,
    certificate: x509.Certificate,
    words: ProfileWords,
) -> bytes:
    """Returns the profile as XML; without a way to receive and one to send it has no account.

    The same settings give the same bytes, so that a profile that is installed again replaces
    itself; a changed certificate changes the profile's UUID but not its identifier.
    """
    identifier = ".".join([*reversed(server_name.split(".")), "mail-settings"])
    content = [_certificate(identifier, certificate, words)]
    if settings.complete:
        content.insert(0, _account(identifier, settings, words))
    profile = {
        "PayloadContent": content,
        "PayloadDescription": words.description,
        "PayloadDisplayName": words.name,
        "PayloadIdentifier": identifier,
        "PayloadType": "Configuration",
        "PayloadUUID": _uuid(identifier, *(payload["PayloadUUID"] for payload in content)),
        "PayloadVersion": 1,
    }
    return plistlib.dumps(profile, fmt=plistlib.FMT_XML)


def _account(identifier: str, settings: MailSettings, words: ProfileWords) -> dict[str, Any]:
    receiving, sending = settings.receiving[0], settings.sending[0]
    own = f"{identifier}.account"
    return {
        "EmailAccountDescription": words.account,
        "EmailAccountType": "EmailTypePOP",
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": receiving.server,
        "IncomingMailServerPortNumber": receiving.port,
        "IncomingMailServerUseSSL": True,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": sending.server,
        "OutgoingMailServerPortNumber": sending.port,
        "OutgoingMailServerUseSSL": True,
        "OutgoingPasswordSameAsIncomingPassword": True,
        "PayloadDisplayName": words.account,
        "PayloadIdentifier": own,
        "PayloadType": "com.apple.mail.managed",
        "PayloadUUID": _uuid(own, *(str(service) for service in (receiving, sending))),
        "PayloadVersion": 1,
    }


def _certificate(
    identifier: str, certificate: x509.Certificate, words: ProfileWords
) -> dict[str, Any]:
    der = certificate.public_bytes(Encoding.DER)
    own = f"{identifier}.certificate1"  # a device knows it by this from earlier profiles
    root = certificate.issuer == certificate.subject
    return {
        "PayloadCertificateFileName": "certificate1.cer",
        "PayloadContent": der,
        "PayloadDisplayName": words.certificate,
        "PayloadIdentifier": own,
        "PayloadType": "com.apple.security.root" if root else "com.apple.security.pkcs1",
        "PayloadUUID": _uuid(own, der.hex()),
        "PayloadVersion": 1,
    }


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(NAMESPACE, "\n".join(parts))).upper()
