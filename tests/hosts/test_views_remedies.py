"""The buttons beside findings, each pressed on a real MailRoot."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from certs.models import Pair
from hosts import deploy, ledger
from hosts.models import Diagnosis, Host, Installation
from hosts.transports import Target
from tests import people
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.factories import (
    ENDPOINTS_OFF,
    files,
    issued_pair,
    local_host,
    on_disk,
    pair_spec,
)
from tests.hosts.pages import text
from xmailadmin import audit
from xmailadmin.models import AuditEntry, User
from xmailadmin.tables import PAGE

pytestmark = pytest.mark.django_db
OTHER = make_pair("other.test")


@pytest.fixture
def pair() -> Pair:
    return issued_pair()


@pytest.fixture
def host(tmp_path: Path, pair: Pair) -> Host:
    """A host that holds the pair, as the portal has on record."""
    host = local_host(tmp_path, "mail1")
    list(ledger.work(deploy.create_deployment(pair, [host], by=None)))
    host.refresh_from_db()
    return host


def look(client: Client, host: Host) -> str:
    Diagnosis.objects.take([host])
    response = client.get(host.get_absolute_url())
    assert text(response)
    return response.content.decode()


def to(name: str, host: Host) -> str:
    return reverse(name, args=[host.pk])


def test_a_pair_changed_by_hand_is_shown_and_left_alone(admin_client: Client, host: Host) -> None:
    write_pair(Path(host.mailroot), OTHER.key, OTHER.certificate)
    html = look(admin_client, host)
    assert html.count(f'action="{to("host_reinstall", host)}"') == 1
    assert f'href="{to("host_adopt", host)}"' in html
    assert on_disk(host) == (OTHER.key, OTHER.certificate)
    assert Diagnosis.objects.get().standing == "differs"


def test_the_recorded_pair_is_installed_again(
    admin_client: Client, host: Host, pair: Pair, django_capture_on_commit_callbacks: Any
) -> None:
    write_pair(Path(host.mailroot), OTHER.key, OTHER.certificate)
    with django_capture_on_commit_callbacks(execute=True):
        response = admin_client.post(to("host_reinstall", host))
    row = Installation.objects.latest("pk")
    assert response["Location"] == row.deployment.get_absolute_url()
    assert row.status == "INSTALLED"
    assert row.previous_pair is not None
    assert files(row.previous_pair) == (OTHER.key, OTHER.certificate)
    assert on_disk(host) == files(pair)


def test_what_is_there_is_kept(
    admin_client: Client, host: Host, django_capture_on_commit_callbacks: Any
) -> None:
    write_pair(Path(host.mailroot), OTHER.key, OTHER.certificate)
    Diagnosis.objects.take([host])
    asked = text(admin_client.get(to("host_adopt", host)))
    assert "Nothing on the host is changed." in asked
    assert "other.test" in asked
    with django_capture_on_commit_callbacks(execute=True):
        done = text(admin_client.post(to("host_adopt", host), follow=True))
    assert "is on record as the pair of mail1" in done
    host.refresh_from_db()
    assert host.pair is not None
    assert (host.pair.sha256, host.token) == (OTHER.sha256, "")
    assert on_disk(host) == (OTHER.key, OTHER.certificate)
    assert Diagnosis.objects.get().standing == "same"
    entry = AuditEntry.objects.get(action="host.adopt")
    assert entry.detail["pair"] == host.pair.pk


def test_what_xmail_cannot_use_is_not_kept(admin_client: Client, host: Host, pair: Pair) -> None:
    write_pair(Path(host.mailroot), OTHER.key, make_pair("third.test").certificate)
    done = text(admin_client.post(to("host_adopt", host), follow=True))
    assert "XMail cannot use the pair that lies on mail1" in done
    write_pair(Path(host.mailroot), None, None)
    done = text(admin_client.post(to("host_adopt", host), follow=True))
    assert "There is no pair on mail1 that could be kept." in done
    host.refresh_from_db()
    assert (host.pair, host.token) == (pair, "")


def test_nothing_is_kept_while_something_is_being_installed(
    admin_client: Client, host: Host, pair: Pair
) -> None:
    Host.objects.update(token="somebody")
    from certs.models.lease import lease_end

    Host.objects.update(lease_until=lease_end())
    done = text(admin_client.post(to("host_adopt", host), follow=True))
    assert "Something is being installed on mail1" in done
    host.refresh_from_db()
    assert host.token == "somebody"


def test_a_key_that_others_can_read_is_taken_from_them(
    admin_client: Client, host: Host, django_capture_on_commit_callbacks: Any
) -> None:
    key = Path(host.mailroot, "server.key")
    key.chmod(0o644)
    assert f'action="{to("host_mend", host)}"' in look(admin_client, host)
    with django_capture_on_commit_callbacks(execute=True):
        done = text(admin_client.post(to("host_mend", host), follow=True))
    assert "Only its owner can read the private key now." in done
    assert key.stat().st_mode & 0o777 == 0o600
    assert f'action="{to("host_mend", host)}"' not in look(admin_client, host)


def test_a_key_is_left_alone_that_cannot_be_put_on_record(
    admin_client: Client, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Path(host.mailroot, "server.key")
    key.chmod(0o644)
    monkeypatch.setattr(audit, "record_all", Mock(side_effect=DatabaseError))
    admin_client.raise_request_exception = False
    assert admin_client.post(to("host_mend", host)).status_code == 500
    assert key.stat().st_mode & 0o777 == 0o644
    host.refresh_from_db()
    assert host.token == "", "the next one need not wait"


@pytest.mark.parametrize("deed", ["host_mend", "host_adopt"])
def test_who_is_switched_off_while_the_host_is_read_does_nothing_there(
    host: Host, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    write_pair(Path(host.mailroot), OTHER.key, OTHER.certificate)
    key = Path(host.mailroot, "server.key")
    key.chmod(0o644)
    taro = people.person("operator", username="taro")
    browser = people.signed_in(taro, confirmed=True)
    target = Host.target

    def slow(host: Host) -> Target:
        User.objects.filter(pk=taro.pk).update(is_active=False)
        return target(host)

    monkeypatch.setattr(Host, "target", slow)
    assert browser.post(to(deed, host)).status_code == 403
    assert key.stat().st_mode & 0o777 == 0o644
    recorded = host.pair
    host.refresh_from_db()
    assert (host.pair, host.token) == (recorded, "")
    assert not AuditEntry.objects.filter(actor=taro).exists()


def test_the_mode_that_ctrl_leaves_is_told_until_somebody_says_that_it_was_mended(
    admin_client: Client, tmp_path: Path, pair: Pair, django_capture_on_commit_callbacks: Any
) -> None:
    mailroot = make_mailroot(tmp_path / "ctrl")
    with XMail(mailroot, services=["ctrl"]) as xmail:
        values = {**ENDPOINTS_OFF, "port": xmail.ports["ctrl"], "user": xmail.user}
        host = Host.objects.create(name="mail2", transport="ctrl", mailroot=str(mailroot), **values)
        host.keep_secrets(password=xmail.password)
        list(ledger.work(deploy.create_deployment(pair, [host], by=None)))
        row = Installation.objects.latest("pk")
        command = f"chmod 600 {mailroot}/server.key"
        assert command in text(admin_client.get(row.get_absolute_url()))
        page = text(admin_client.get(host.get_absolute_url()))
        assert "with mode 0666" in page
        assert f"Run on the host: {command}" in page
        assert "with mode 0666" in text(admin_client.get(reverse("diagnosis")))
        with django_capture_on_commit_callbacks(execute=True):
            done = text(admin_client.post(to("host_mended", host), follow=True))
        assert "It is noted" in done
        assert "with mode 0666" not in done
        refused = text(admin_client.post(to("host_mend", host), follow=True))
        assert "cannot set permissions" in refused


def test_a_host_that_shows_another_identity_leads_to_the_page_that_compares_it(
    admin_client: Client, tmp_path: Path
) -> None:
    mailroot = make_mailroot(tmp_path / "ctrl", key=OTHER.key, certificate=OTHER.certificate)
    with XMail(mailroot, services=["ctrl"]) as xmail:
        values = {**ENDPOINTS_OFF, "port": xmail.ports["ctrl"], "user": xmail.user}
        host = Host.objects.create(
            name="mail2", transport="ctrl", trust_fingerprint="ab" * 32, **values
        )
        html = look(admin_client, host)
        assert f'href="{to("host_reenrol", host)}">Look at its identity' in " ".join(html.split())
        assert to("host_adopt", host) not in html, "nothing is read from a stranger"


def test_a_host_without_a_pair_leads_to_one_and_stays_chosen(
    admin_client: Client, tmp_path: Path
) -> None:
    host = local_host(tmp_path, "mail2")
    html = look(admin_client, host)
    assert f'class="btn btn-outline-secondary btn-sm" href="{to("host_install", host)}"' in html
    nothing = admin_client.get(to("host_install", host)).content.decode()
    assert f'href="{reverse("pair_new")}?host={host.pk}"' in nothing
    pair, old = issued_pair(), issued_pair()
    Pair.objects.filter(pk=old.pk).update(not_after=timezone.now() - timedelta(days=1))
    choice = admin_client.get(to("host_install", host)).content.decode()
    begins = reverse("deployment_new", args=[pair.pk]) + f"?host={host.pk}"
    assert f'href="{begins}"' in choice
    assert reverse("deployment_new", args=[old.pk]) not in choice, "it has expired"
    ticked = admin_client.get(begins).context["form"].rows
    assert [row for row, chosen in ticked if chosen] == [host]
    refused = text(admin_client.post(to("host_reinstall", host), follow=True))
    assert "There is no recorded pair that could be installed there." in refused


def test_every_pair_can_be_chosen_for_a_host(admin_client: Client, tmp_path: Path) -> None:
    old = issued_pair(common_name="old.test")
    host = local_host(tmp_path, "mail2", pair=old)
    Pair.objects.bulk_create(
        Pair(status=Pair.Status.ISSUED, state="ok", common_name=f"m{at}.test", names=f"m{at}.test",
             not_after=timezone.now() + timedelta(days=9))
        for at in range(PAGE)
    )  # fmt: skip
    coming = Pair.objects.request(pair_spec(common_name="coming.test"), by=None)
    address = to("host_install", host)
    offered = [
        re.findall(r"/pairs/(\d+)/install/", admin_client.get(address, query).content.decode())
        for query in ({}, {"page": "2"})
    ]
    assert offered[0][:2] == [str(old.pk), str(coming.pk)], "its own, then the newest"
    everyone = sorted(Pair.objects.values_list("pk", flat=True))
    assert sorted(int(pk) for page in offered for pk in page) == everyone
    assert f"1–{PAGE} of {PAGE + 2} entries" in text(admin_client.get(address))
    found = text(admin_client.get(address, {"q": "m0.test"}))
    assert "m0.test" in found
    assert "m1.test" not in found
    assert "No pair fits this search" in text(admin_client.get(address, {"q": "m99.test"}))
