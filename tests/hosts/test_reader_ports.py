"""Which servers and ports the page for mail users names."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from certs.models import Pair
from hosts.mail_settings import common
from hosts.models import Host, ReaderPage
from hosts.probe import Endpoint
from tests.factories import local_host
from tests.hosts.pages import text
from tests.hosts.reading import (
    FILES,
    PORTS,
    host,
    pair,
    path_of,
    switched_on,
    users_page,
)

__all__ = ["host", "pair", "users_page"]  # fixtures

pytestmark = pytest.mark.django_db


def test_a_host_without_a_pair_or_services_still_has_a_page(
    client: Client, users_page: ReaderPage
) -> None:
    Host.objects.update(pair=None, **dict.fromkeys(PORTS, 0))
    shown = text(client.get(path_of(users_page)))
    assert "there is no fingerprint to compare" in shown
    assert "The ports are not known here yet. Ask:" in shown
    assert shown.count("Server mail.dojo.jp") == 2
    statuses = {end: client.get(f"{path_of(users_page)}{end}").status_code for end in FILES}
    assert statuses == dict.fromkeys(FILES, 404) | {"qr.svg": 200}


def test_a_page_about_a_pair_names_what_all_its_hosts_offer(
    client: Client, pair: Pair, host: Host, tmp_path: Any
) -> None:
    local_host(tmp_path, "mail2", pair=pair, pop3s_port=995, smtps_port=10465, submission_port=587)
    shown = text(client.get(path_of(switched_on(pair=pair))))
    assert "995" in shown
    assert "587" in shown
    assert "465" not in shown.replace(str(pair.sha256), "")


def test_without_a_port_in_common_the_page_still_names_the_server(
    client: Client, pair: Pair, host: Host, tmp_path: Any
) -> None:
    local_host(tmp_path, "mail2", pair=pair, pop3s_port=10995, pop3_port=10110, smtps_port=465)
    shown = text(client.get(path_of(switched_on(pair=pair, sending_name="out.dojo.jp"))))
    shown = shown.replace("Copy the server name ", "")
    assert "Receiving (POP3) Server mail.dojo.jp Port ask for it User name" in shown
    assert "Sending (SMTP) Server out.dojo.jp Port 465 Security SSL/TLS" in shown
    assert "The ports are not the same on every server. Ask: Help desk, ext. 123" in shown
    assert "Port 995" not in shown


def test_services_in_common() -> None:
    one = [Endpoint("pop3s", 995), Endpoint("smtps", 465)]
    assert common([]) == []
    assert common([one]) == one
    assert common([one, [Endpoint("pop3s", 995), Endpoint("smtps", 1)]]) == [one[0]]
