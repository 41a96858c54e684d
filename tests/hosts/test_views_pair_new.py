"""The form of a new pair, as a person fills it in, sends it twice, and makes mistakes in it."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import translation

from certs.models import Pair
from certs.problems import PROBLEMS
from hosts.models import Deployment
from tests.doubles.pairs import make_pair
from tests.factories import issued_pair, local_host, pair_spec
from tests.hosts.pages import text
from xmailadmin.models import User

pytestmark = pytest.mark.django_db

FIELDS = {
    "country": "JP",
    "state": "東京都",
    "locality": "渋谷区",
    "organization": "エックスメール株式会社",
    "organizational_unit": "",
    "common_name": "mail.dojo.jp",
    "aliases": "dojo.jp 192.0.2.1",
    "email": "",
    "key_size": "ec-256",
    "days": "825",
    "memo": "for the autumn",
}
MISTAKES = {
    "country": ("1!", "country_code"),
    "state": ("", "required"),
    "organization": ("", "required"),
    "common_name": ("not a name", "name_characters"),
    "aliases": ("a.*.example.jp", "wildcard_position"),
    "email": ("postmaster", "email_form"),
    "days": ("826", "days_range"),
}


def offered(html: str) -> dict[str, str]:
    """The values in the text fields of a page."""
    inputs = re.findall(r"<input[^>]*>", html)
    values = {
        name[1]: unescape(re.findall(r' value="([^"]*)"|$', each)[0])
        for each in inputs
        if (name := re.search(r' name="(\w+)"', each))
    }
    areas = re.findall(r'<textarea name="(\w+)"[^>]*>\s*(.*?)</textarea>', html, re.S)
    return values | {name: unescape(value.strip()) for name, value in areas}


def opened(client: Client, **query: Any) -> dict[str, str]:
    """The values in the form as it is shown at first."""
    return offered(client.get(reverse("pair_new"), query).content.decode())


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("field", MISTAKES)
def test_a_mistake_is_named_in_the_readers_language_and_everything_stays_as_typed(
    admin_client: Client, field: str, language: str
) -> None:
    wrong, code = MISTAKES[field]
    typed = {**FIELDS, field: wrong}
    headers = {"Accept-Language": language}
    response = admin_client.post(reverse("pair_new"), typed, headers=headers)
    html = response.content.decode()
    assert offered(html).items() >= {k: v for k, v in typed.items() if k != "key_size"}.items()
    assert f'href="#id_{field}"' in html
    assert len(re.findall(r'id="id_' + field + '"', html)) == 1
    with translation.override(language):
        reason = str(PROBLEMS[code]) % {"value": wrong, "maximum": 825}
    assert reason in text(response)
    assert not Pair.objects.exists()


def test_the_same_form_sent_twice_makes_one_pair(admin_client: Client, tmp_path: Path) -> None:
    host = local_host(tmp_path)
    issued_pair()
    data = FIELDS | {"after": opened(admin_client)["after"]}
    data |= {"install_now": "on", "which": "some", "hosts": str(host.pk)}
    admin_client.post(reverse("pair_new"), data)
    made = Pair.objects.latest("pk")
    again = admin_client.post(reverse("pair_new"), data, follow=True)
    assert again.redirect_chain[-1][0] == made.get_absolute_url()
    assert "the pair was not made twice" in text(again)
    assert (Pair.objects.count(), Deployment.objects.count()) == (2, 1)


def test_a_form_opened_anew_or_changed_makes_another_pair(admin_client: Client) -> None:
    first = FIELDS | {"after": opened(admin_client)["after"]}
    admin_client.post(reverse("pair_new"), first)
    admin_client.post(reverse("pair_new"), first | {"days": "30"})
    admin_client.post(reverse("pair_new"), FIELDS | {"after": opened(admin_client)["after"]})
    assert Pair.objects.count() == 3
    admin_client.post(reverse("pair_new"), FIELDS)  # without a browser nothing counts
    assert Pair.objects.count() == 4


def test_a_failed_pair_does_not_keep_the_form_from_being_sent_again(admin_client: Client) -> None:
    data = FIELDS | {"after": opened(admin_client)["after"]}
    admin_client.post(reverse("pair_new"), data)
    Pair.objects.update(status=Pair.Status.FAILED)
    admin_client.post(reverse("pair_new"), data)
    assert Pair.objects.count() == 2


@pytest.mark.parametrize("after", ["", "-1", "x", "9" * 40, "٣"])
def test_a_strange_number_in_the_form_is_no_obstacle(admin_client: Client, after: str) -> None:
    admin_client.post(reverse("pair_new"), FIELDS | {"after": after})
    assert Pair.objects.count() == 1
    assert admin_client.get(reverse("pair_new"), {"from": after}).status_code == 200


def test_the_values_of_another_pair_are_offered(admin_client: Client) -> None:
    wanted = Pair.objects.request(pair_spec(common_name="a.dojo.jp"), by=None, memo="spring")
    issued_pair(common_name="b.dojo.jp")
    values = opened(admin_client, **{"from": wanted.pk})
    assert (values["common_name"], values["memo"]) == ("a.dojo.jp", "spring")
    assert opened(admin_client)["common_name"] == "b.dojo.jp"


def test_the_names_of_a_pair_found_on_a_host_are_offered(admin_client: Client) -> None:
    files = make_pair("old.dojo.jp", aliases=["old.dojo.jp", "dojo.jp"])
    found = Pair.objects.adopt(files.key, files.certificate, found_on="mail9")
    values = opened(admin_client, **{"from": found.pk})
    assert (values["common_name"], values["aliases"]) == ("old.dojo.jp", "dojo.jp")


def test_each_person_is_offered_the_values_they_wrote_last(admin_client: Client) -> None:
    other = User.objects.create_user("taro")
    admin_client.post(reverse("pair_new"), FIELDS | {"common_name": "mine.dojo.jp"})
    his = RequestFactory().post("/")
    his.user = other
    Pair.objects.request(pair_spec(common_name="his.dojo.jp"), by=his)
    values = opened(admin_client)
    assert values["common_name"] == "mine.dojo.jp"
    assert values["aliases"] == "dojo.jp 192.0.2.1"
    assert values["memo"] == ""


def test_a_link_may_choose_the_hosts(admin_client: Client, tmp_path: Path) -> None:
    local_host(tmp_path, "mail1")
    host = local_host(tmp_path, "mail2")
    html = admin_client.get(reverse("pair_new"), {"host": host.pk}).content.decode()
    ticked = re.findall(r'<input class="form-check-input"[^>]*\bchecked\b[^>]*>', html)
    assert ['install_now' in each or 'which' in each or f'id_hosts_{host.pk}"' in each
            for each in ticked] == [True] * 3  # fmt: skip
