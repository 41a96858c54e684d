"""Setting up one client for the hosts of the portal: names, ports and security filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from certs.client_recipes import RECIPES, Place, recipes
from certs.models import ClientNote
from hosts.client_names import client_names
from hosts.models import Host
from tests.factories import issued_pair, local_host
from tests.people import sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(client: Client, django_user_model: Any) -> Client:
    sign_in(client, django_user_model.objects.create_superuser("sato"))
    return client


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return local_host(
        tmp_path,
        address="mail.dojo.jp",
        pair=issued_pair(),
        pop3s_port=995,
        pop3_port=110,
        smtps_port=465,
        submission_port=587,
    )


def page(browser: Client, slug: str, language: str = "en", **query: str) -> str:
    response = browser.get(f"/clients/{slug}/setup/", query, headers={"accept-language": language})
    assert response.status_code == 200
    return response.content.decode()


def places(browser: Client, slug: str) -> dict[str, list[tuple[str, int, bool]]]:
    (server,) = browser.get(f"/clients/{slug}/setup/").context["servers"]
    return {
        str(part["protocol"]): [
            (item["place"].name, item["place"].port, item["place"].implicit)
            for item in part["places"]
        ]
        for part in server["parts"]
    }


def test_names_ports_and_security_are_filled_in(browser: Client, host: Host) -> None:
    assert places(browser, "thunderbird") == {
        "POP3": [("mail.dojo.jp", 995, True), ("mail.dojo.jp", 110, False)],
        "SMTP": [("mail.dojo.jp", 465, True), ("mail.dojo.jp", 587, False)],
    }
    text = page(browser, "thunderbird")
    assert "policies.json" in text
    assert "The certificate does not hold this name" not in text
    assert host.pair is not None
    assert f"/pairs/{host.pair.pk}/server.cert" in text


def test_a_client_without_stls_is_offered_no_port_for_it(browser: Client, host: Host) -> None:
    assert places(browser, "getmail6") == {"POP3": [("mail.dojo.jp", 995, True)], "SMTP": []}


def test_the_name_to_enter_is_one_that_the_certificate_holds(browser: Client, host: Host) -> None:
    Host.objects.update(address="192.0.2.7")
    assert places(browser, "curl")["POP3"][0][0] == "mail.dojo.jp"


def test_a_host_without_a_pair_says_so(browser: Client, tmp_path: Path) -> None:
    local_host(tmp_path, address="pop.dojo.jp", pop3s_port=995)
    text = page(browser, "curl")
    assert "there is no fingerprint to compare" in text
    assert "pop.dojo.jp" in text


def test_one_host_can_be_chosen(browser: Client, host: Host, tmp_path: Path) -> None:
    local_host(tmp_path, "mail2", address="mail2.dojo.jp", pop3s_port=995)
    assert "mail2.dojo.jp" in page(browser, "curl")
    assert "mail2.dojo.jp" not in page(browser, "curl", host=str(host.pk))
    assert "mail2.dojo.jp" in page(browser, "curl", host="x" * 50)


def test_disabled_hosts_are_left_out(browser: Client, host: Host) -> None:
    Host.objects.update(disabled=True)
    assert "There is no host yet" in page(browser, "curl")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_current_client_has_a_page(browser: Client, host: Host, language: str) -> None:
    current = ClientNote.objects.filter(historical=False).order_by()
    for slug in current.values_list("client_slug", flat=True).distinct():
        assert "mail.dojo.jp" in page(browser, slug, language)
        shown = browser.get(f"/clients/{slug}/").content.decode()
        assert f"/clients/{slug}/setup/" in shown


def test_a_client_of_the_original_page_alone_has_none(browser: Client) -> None:
    assert browser.get("/clients/becky/setup/").status_code == 404


def test_the_number_of_queries_does_not_grow(
    browser: Client, host: Host, tmp_path: Path, django_assert_max_num_queries: Any
) -> None:
    for number in range(5):
        local_host(tmp_path, f"more{number}", pop3s_port=995)
    with django_assert_max_num_queries(8):
        browser.get("/clients/curl/setup/")


def test_recipes_fill_in_the_server() -> None:
    implicit = Place("POP3", "mail.dojo.jp", 995, True, "AA:BB")
    starttls = Place("SMTP", "mail.dojo.jp", 587, False, "AA:BB")
    for slug in RECIPES:
        made = [*recipes(slug, implicit), *recipes(slug, starttls)]
        assert made, slug
        for recipe in made:
            assert "mail.dojo.jp" in recipe.text
            assert "None" not in recipe.text
    (msmtp,) = recipes("msmtp", starttls)
    assert "tls_fingerprint AA:BB" in msmtp.text
    assert recipes("thunderbird", implicit) == []


def test_an_address_that_is_no_name_tells_nothing() -> None:
    addresses = ["192.0.2.1", "::1", "[2001:db8::1]", "localhost", "Mail.Dojo.JP.", "mail.dojo.jp"]
    assert client_names(Host(address=address) for address in addresses) == ["mail.dojo.jp"]
