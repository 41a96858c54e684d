"""Certificates whose dates no clock will ever show, as a host may hold them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from certs import pair as pem
from certs.models import Pair
from hosts.models import Diagnosis
from tests.doubles.pairs import dated
from tests.factories import local_host

pytestmark = pytest.mark.django_db

ZONES = ("Asia/Tokyo", "Pacific/Kiritimati", "America/New_York", "UTC")
PAGES = ("dashboard", "pair_list", "host_list", "matrix")


@pytest.mark.parametrize(
    ("not_before", "not_after"),
    [
        ("20260101000000Z", "99991231235959Z"),  # RFC 5280, 4.1.2.5: it has no end
        ("00010101000000Z", "20500101000000Z"),
        ("00000101000000Z", "00001231000000Z"),
    ],
)
def test_every_page_shows_a_certificate_of_any_date(
    not_before: str, not_after: str, admin_client: Client, tmp_path: Path
) -> None:
    key, certificate = dated(not_before, not_after)
    assert pem.check(key, certificate).matches
    host = local_host(tmp_path)
    Path(host.mailroot, "server.key").write_bytes(key)
    Path(host.mailroot, "server.cert").write_bytes(certificate)
    pair = Pair.objects.adopt(key, certificate, found_on="mail1")
    host.pair = pair
    host.save()
    Diagnosis.objects.take([host])
    addresses = [reverse(name) for name in PAGES]
    addresses += [reverse(name, args=[pair.pk]) for name in ("pair_detail", "pair_text")]
    for zone in ZONES:
        admin_client.cookies["tz"] = zone
        for address in [*addresses, host.get_absolute_url()]:
            assert admin_client.get(address).status_code == 200, (zone, address)
