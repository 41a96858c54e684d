"""What the tests of the page for mail users share: a talkative host, and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from certs.models import Pair
from hosts.models import Host, ReaderPage
from tests.factories import issued_pair, local_host
from tests.people import person

# What must never be read by anybody with a link.
PRIVATE = {
    "address": "10.20.30.40",
    "name": "secret-host-name",
    "memo": "memo of the host",
    "user": "xmailctrl",
    "jump": "root@jump.internal",
}
PAIR_MEMO = "memo of the pair"
PERSON = "hanako"
FILES = ("qr.svg", "certificate.pem", "certificate.cer", "mail.mobileconfig", "config-v1.1.xml")
PORTS: dict[str, Any] = {
    "pop3s_port": 995,
    "pop3_port": 110,
    "smtps_port": 465,
    "submission_port": 587,
}
MASTER_KEY = "A" * 43 + "="


@pytest.fixture
def pair(db: None) -> Pair:
    made = issued_pair()
    made.memo, made.created_by = PAIR_MEMO, person("operator", username=PERSON)
    made.save()
    return made


@pytest.fixture
def host(tmp_path: Path, pair: Pair) -> Host:
    made = local_host(tmp_path, pair=pair, created_by=pair.created_by, **PORTS)
    Host.objects.filter(pk=made.pk).update(**PRIVATE)
    made.refresh_from_db()
    return made


@pytest.fixture
def users_page(host: Host) -> ReaderPage:
    return switched_on(host=host)


def switched_on(**about: object) -> ReaderPage:
    """A page with the settings that a person would choose."""
    page = ReaderPage(
        server_name="mail.dojo.jp", mail_domain="dojo.jp", contact="Help desk, ext. 123", **about
    )
    page.switch_on()
    return page


def path_of(page: ReaderPage) -> str:
    """The path of the link."""
    return urlsplit(page.link()).path
