"""A pair is judged for its hosts before it is made or installed, and history keeps that."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from certs.issue import issue
from certs.models import ClientNote, Pair
from certs.note_snapshots import judgement_in
from hosts import deploy, judging, ledger
from hosts.models import Deployment, Host
from tests.factories import issued_pair, local_host, pair_spec
from tests.hosts.commands import made_pair, run

pytestmark = pytest.mark.django_db
ENGLISH = {"accept-language": "en"}
LATER = "pop.soopoo.jp"


@pytest.fixture
def browser(client: Client, django_user_model: Any) -> Client:
    client.force_login(django_user_model.objects.create_superuser("sato"))
    return client


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return local_host(tmp_path, address=LATER)


def values(**changes: object) -> dict[str, object]:
    return {
        "country": "JP", "state": "Tokyo", "locality": "Shibuya-ku",
        "organization": "Xmail Co., Ltd.", "common_name": "mail.dojo.jp", "aliases": "",
        "key_size": "ec-256", "days": "825", "memo": "", "after": "0",
    } | changes  # fmt: skip


class TestMaking:
    def test_a_preview_makes_nothing(self, browser: Client) -> None:
        response = browser.post("/pairs/new/", values(judge="1"), headers=ENGLISH)
        page = response.content.decode()
        assert "How mail clients will take it" in page
        assert "It is self-signed" in page
        assert page.count('href="/clients/thunderbird/"') == 1, "a long list is shown once"
        assert "Nothing was done yet" not in page
        assert not Pair.objects.exists()

    def test_what_has_no_flaw_is_made_at_once(self, browser: Client) -> None:
        assert browser.post("/pairs/new/", values()).status_code == 302

    def test_a_flaw_is_shown_before_the_pair_is_made(self, browser: Client, host: Host) -> None:
        wanted = values(install_now="on", which="some", hosts=[host.pk])
        response = browser.post("/pairs/new/", wanted, headers=ENGLISH)
        page = response.content.decode()
        assert f"by which clients reach these hosts: {LATER}" in page
        assert "Thunderbird" in page
        assert "Nothing was done yet" in page
        assert "Make it all the same" in page
        assert not Pair.objects.exists()

        seen = wanted | {"judged": response.context["judged"]}
        assert browser.post("/pairs/new/", seen).status_code == 302
        assert Deployment.objects.count() == 1

    def test_other_flaws_than_those_seen_are_shown_again(
        self, browser: Client, host: Host, tmp_path: Path
    ) -> None:
        other = local_host(tmp_path, "mail2", address="smtp.soopoo.jp")
        wanted = values(install_now="on", which="some", hosts=[host.pk])
        judged = browser.post("/pairs/new/", wanted).context["judged"]
        more = wanted | {"judged": judged, "hosts": [host.pk, other.pk]}
        assert browser.post("/pairs/new/", more).status_code == 200
        assert not Pair.objects.exists()

    def test_the_alias_mends_it(self, browser: Client, host: Host) -> None:
        wanted = values(install_now="on", which="some", hosts=[host.pk], aliases=LATER)
        assert browser.post("/pairs/new/", wanted).status_code == 302

    def test_without_installing_the_hosts_do_not_matter(self, browser: Client, host: Host) -> None:
        assert browser.post("/pairs/new/", values(hosts=[host.pk])).status_code == 302


class TestInstalling:
    def test_the_page_judges_at_once(self, browser: Client, host: Host) -> None:
        pair = issued_pair()
        page = browser.get(f"/pairs/{pair.pk}/install/?host={host.pk}", headers=ENGLISH)
        assert page.context["judgement"].flawed
        assert LATER in page.content.decode()

    def test_a_flaw_is_shown_before_anything_is_installed(
        self, browser: Client, host: Host
    ) -> None:
        pair = issued_pair()
        address, wanted = f"/pairs/{pair.pk}/install/", {"which": "some", "hosts": [host.pk]}
        response = browser.post(address, wanted, headers=ENGLISH)
        assert response.status_code == 200
        assert "Begin all the same" in response.content.decode()
        assert not Deployment.objects.exists()
        seen = wanted | {"judged": response.context["judged"]}
        assert browser.post(address, seen).status_code == 302
        assert Deployment.objects.count() == 1

    def test_asking_installs_nothing(self, browser: Client, host: Host) -> None:
        pair = issued_pair(aliases=LATER)
        address = f"/pairs/{pair.pk}/install/"
        response = browser.post(address, {"which": "all", "judge": "1"})
        assert not response.context["judgement"].flawed
        assert browser.post(address, {"which": "all"}).status_code == 302

    def test_an_expired_pair_is_not_installed_unseen(self, browser: Client, tmp_path: Path) -> None:
        local_host(tmp_path)
        old = issue(pair_spec(days="30"), timezone.now() - timedelta(days=60))
        pair = Pair.objects.adopt(old.key_pem, old.certificate_pem, found_on="mail1")
        response = browser.post(f"/pairs/{pair.pk}/install/", {"which": "all"})
        assert response.context["judgement"].concerns[0].code == "expired"
        assert not Deployment.objects.exists()

    def test_a_pair_that_is_still_being_made_is_judged_by_its_specification(
        self, host: Host
    ) -> None:
        pair = Pair.objects.request(pair_spec(), by=None)
        judgement = judging.judge_pair(pair, [host])
        assert judgement is not None
        assert judgement.flawed

    def test_thousands_of_names_are_not_all_listed(self) -> None:
        hosts = [Host(address=f"mail{number}.example.jp") for number in range(1000)]
        judgement = judging.judge_spec(pair_spec(), hosts)
        assert judgement.concerns[0].text.endswith("mail9.example.jp, …")


class TestCommands:
    def test_they_warn_and_go_on(self, host: Host) -> None:
        done = made_pair("mail.dojo.jp", "--install", host.name)
        assert done.statuses == ["INSTALLED"]
        (warning,) = done.json["warnings"]
        assert warning.endswith(LATER)
        again = run("deploy_pair", str(done.json["pair"]["id"]), host.name)
        assert again.status == 0
        assert again.error.count("Warning: ") == 1

    def test_what_has_no_flaw_needs_no_warning(self, host: Host) -> None:
        done = made_pair("mail.dojo.jp", "--alias", LATER, "--install", host.name)
        assert done.json["warnings"] == []


def test_history_keeps_the_judgement(browser: Client, host: Host) -> None:
    deployment = deploy.create_deployment(issued_pair(), [host], by=None)
    (row,) = ledger.work(deployment)
    ClientNote.objects.filter(historical=False).update(mark="good")
    row.refresh_from_db()
    assert row.client_notes is not None
    kept = judgement_in(row.client_notes)
    assert kept is not None
    assert kept.concerns[0].code == "mismatch"
    page = browser.get(f"/history/{row.pk}/", headers=ENGLISH).content.decode()
    assert "How mail clients were judged to take it then" in page
    assert LATER in page


def test_the_page_of_a_pair_shows_it(browser: Client, host: Host) -> None:
    pair = issued_pair()
    page = browser.get(f"/pairs/{pair.pk}/", headers=ENGLISH).content.decode()
    assert "How mail clients will take it" in page
    assert LATER not in page
    Host.objects.update(pair=pair)
    page = browser.get(f"/pairs/{pair.pk}/", headers=ENGLISH).content.decode()
    assert f"by which clients reach these hosts: {LATER}" in page
