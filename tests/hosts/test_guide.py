"""The set-up guide: every section and the way from it to what it tells."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import Client

from tests.people import person

SECTIONS = ["steps", "diagnosis", "form", "announce", "limits", "clients"]


@pytest.fixture
def page(client: Client) -> str:
    client.force_login(person("operator"))
    return client.get("/guide/", headers={"accept-language": "en"}).content.decode()


@pytest.mark.django_db
def test_the_table_of_contents_leads_to_every_section(page: str) -> None:
    for section in SECTIONS:
        assert f'href="#{section}"' in page
        assert f'id="{section}"' in page
    assert page.count('href="#main"') >= len(SECTIONS)


@pytest.mark.django_db
def test_the_steps_have_the_buttons_that_do_them(page: str) -> None:
    for address in (
        "/pairs/new/",
        "/hosts/add/",
        "/pairs/",
        "/diagnosis/",
        "/clients/thunderbird/",
    ):
        assert f'href="{address}"' in page


@pytest.mark.django_db
def test_it_speaks_the_original_pages_japanese(client: Client) -> None:
    client.force_login(person("viewer"))
    page = client.get("/guide/", headers={"accept-language": "ja"}).content.decode()
    for sentence in (
        "複数の XMail があっても同一のペアをインストールしてかまいません。",
        "その XMail のローカルユーザに対してメーラ設定で証明書の検証機能をオフにするように",
        "会社など社会的な責任の伴う組織では公式の証明書を取得することをすすめます。",
    ):
        assert sentence in page


@pytest.mark.django_db
def test_the_announcement_takes_the_pairs_name_and_fingerprint() -> None:
    pair = {"common_name": "mail.dojo.jp", "sha256": "ab" * 32}
    text = render_to_string("hosts/guide/announcement.html", {"pair": pair})
    (announcement,) = re.findall(r"<textarea[^>]*>(.*)</textarea>", text, re.DOTALL)
    assert "mail.dojo.jp" in announcement
    assert ":".join(["AB"] * 32) in announcement  # as mail clients show it


@pytest.mark.django_db
def test_the_diagnosis_counts_and_names_hosts() -> None:
    diagnosis = {
        "total": 3, "pair_ok": 2, "key_ok": 3, "ca_ok": 0,
        "problems": [{"pk": 7, "name": "tokyo-1"}],
    }  # fmt: skip
    text = render_to_string("hosts/guide/diagnosis.html", {"diagnosis": diagnosis})
    assert "on 2 of 3 hosts" in text
    assert "on 0 of 3 hosts" in text
    assert '<a href="/hosts/7/">tokyo-1</a>' in text


@pytest.mark.django_db
@pytest.mark.parametrize("context", [{}, {"diagnosis": None}, {"diagnosis": {"total": 0}}])
def test_without_a_diagnosis_it_says_what_to_do(context: dict[str, Any]) -> None:
    context = {**context, "perms": {"xmailadmin": {"operate": True}}}
    assert 'href="/hosts/add/"' in render_to_string("hosts/guide/diagnosis.html", context)
