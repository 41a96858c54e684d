"""The file from which Thunderbird and others set an account up (config-v1.1.xml).

Elements and values are those of draft-ietf-mailmaint-autoconfig (whose version 1.2 is compatible
with the 1.1 that Thunderbird has always read): the placeholders stand for the reader's address.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from hosts.mail_settings import MailSettings, Service

__all__ = ["CONTENT_TYPE", "autoconfig"]

CONTENT_TYPE = "application/xml; charset=utf-8"


def autoconfig(server_name: str, settings: MailSettings) -> bytes:
    """Returns the file; the ways to receive and to send stand in it with the best first."""
    root = ET.Element("clientConfig", version="1.1")
    provider = ET.SubElement(root, "emailProvider", id=settings.mail_domain)
    _add(provider, "domain", settings.mail_domain)
    _add(provider, "displayName", server_name)
    _add(provider, "displayShortName", server_name)
    user = "%EMAILADDRESS%" if settings.whole_address else "%EMAILLOCALPART%"
    _servers(provider, "incomingServer", "pop3", settings.receiving, user)
    _servers(provider, "outgoingServer", "smtp", settings.sending, user)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return text + b"\n"


def _servers(
    provider: ET.Element, tag: str, kind: str, services: Iterable[Service], user: str
) -> None:
    for service in services:
        server = ET.SubElement(provider, tag, type=kind)
        _add(server, "hostname", service.server)
        _add(server, "port", str(service.port))
        _add(server, "socketType", "SSL" if service.implicit else "STARTTLS")
        _add(server, "authentication", "password-cleartext")  # the channel is encrypted
        _add(server, "username", user)


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text
