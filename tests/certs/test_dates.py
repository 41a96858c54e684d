"""Certificates whose dates no clock will ever show, as a host may hold them."""

from __future__ import annotations

import base64
import datetime as dt
import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from certs import pair as pem
from certs.models import Pair
from hosts.models import Diagnosis
from tests.doubles.pairs import make_pair
from tests.factories import local_host

pytestmark = pytest.mark.django_db

ZONES = ("Asia/Tokyo", "Pacific/Kiritimati", "America/New_York", "UTC")
PAGES = ("dashboard", "pair_list", "host_list", "matrix")


def dated(not_before: str, not_after: str) -> tuple[bytes, bytes]:
    """A key, and a certificate with these moments in it; its signature is not right any more."""
    known = dt.datetime(2050, 1, 1, tzinfo=dt.UTC), dt.datetime(2051, 1, 1, tzinfo=dt.UTC)
    made = make_pair("mail.dojo.jp", not_before=known[0], not_after=known[1])
    body = re.sub(rb"-----.*?-----|\s", b"", made.certificate)
    der = base64.b64decode(body)
    for old, new in zip(known, (not_before, not_after), strict=True):
        der = der.replace(f"{old:%Y%m%d%H%M%SZ}".encode(), new.encode())
    lines = base64.encodebytes(der)
    return made.key, b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n"


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
