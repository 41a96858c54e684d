"""The team at work on the client notes, as people meet the pages, and what is judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import SignIn
from tests.doubles.mailroot import make_mailroot
from tests.portal import Portal

pytestmark = pytest.mark.browser
PDF_PAGE = re.compile(rb"/Type\s*/Page\b")
JAPANESE = "初回に警告が出る。"


@pytest.fixture(scope="module")
def portal_with_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    home = tmp_path_factory.mktemp("clients")
    portal = Portal(home / "portal")
    with portal.up():
        for name, address in (("mail1", "mail.dojo.jp"), ("mail2", "pop.soopoo.jp")):
            mailroot = make_mailroot(Path(home / name))
            portal.manage(
                "add_host", name, "--transport", "local", "--mailroot", str(mailroot),
                "--address", address,
            )  # fmt: skip
        yield portal


def check(page: Page) -> None:
    """Nothing is wrong with the page for a screen reader, and it does not scroll sideways."""
    violations = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in violations] == []
    beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert beyond <= 0, page.url


@pytest.mark.parametrize(
    ("locale", "scheme", "width"), [("en-US", "light", 1280), ("ja-JP", "dark", 390)]
)
def test_the_team_keeps_the_notes(
    portal_with_hosts: Portal, sign_in: SignIn, locale: str, scheme: str, width: int
) -> None:
    viewport = {"width": width, "height": 900}
    page = sign_in(portal_with_hosts, locale=locale, color_scheme=scheme, viewport=viewport)

    page.goto("/clients/reports/new/?client=thunderbird")
    check(page)
    page.fill("[name=version]", "160.0")
    page.select_option("[name=protocol]", "POP3")
    page.check("[name=worked][value=no]")
    page.fill("[name=message]", "SSL_ERROR_BAD_CERT_DOMAIN")
    page.click("main form button[type=submit]")
    page.wait_for_url("**/clients/")
    check(page)
    page.locator("main a[href='/clients/reports/']:visible").first.click()
    page.wait_for_url("**/clients/reports/")
    check(page)
    page.click("main a[href$='/accept/']")
    page.wait_for_url("**/accept/")
    check(page)
    page.fill("[name=remark_ja]", JAPANESE)
    page.click("main form.form-wide button[type=submit]")
    page.wait_for_url(re.compile(r"/clients/notes/\d+/$"))
    check(page)

    page.click("main a[href$='/edit/']")
    page.wait_for_url("**/edit/")
    check(page)
    page.select_option("[name=mark]", "partial")
    with page.expect_navigation():
        page.click("main form.form-wide button[type=submit]")
    assert page.locator("[name=setting_en]").get_attribute("aria-invalid") == "true"
    check(page)
    page.fill("[name=setting_ja]", "例外を追加する。")
    page.click("main form.form-wide button[type=submit]")
    page.wait_for_url(re.compile(r"/clients/notes/\d+/$"))
    assert "例外を追加する。" in page.inner_text("main")
    check(page)
    with page.expect_navigation():
        page.click("main form[action$='/confirm/'] button")
    page.goto("/clients/changes/")
    check(page)
    assert page.locator(".note-change").count() >= 3


@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
def test_a_set_up_fits_a_phone_and_a_sheet(
    portal_with_hosts: Portal, sign_in: SignIn, locale: str
) -> None:
    page = sign_in(portal_with_hosts, locale=locale, viewport={"width": 390, "height": 844})
    for slug in ("thunderbird", "msmtp"):
        page.goto(f"/clients/{slug}/setup/?host=1")
        check(page)
        assert "mail.dojo.jp" in page.inner_text("main")
    page.evaluate("window.print = () => { document.title = 'printed'; }")
    page.click("[data-print]")
    assert page.title() == "printed"
    assert len(PDF_PAGE.findall(page.pdf())) == 1
    page.emulate_media(media="print")
    assert not page.locator(".sidebar").is_visible()
    assert not page.locator("main a[href*='/clients/reports/new/']").is_visible(), "for the screen"


def test_a_flaw_is_judged_before_the_pair_is_made(
    portal_with_hosts: Portal, sign_in: SignIn
) -> None:
    page = sign_in(portal_with_hosts)
    page.goto("/pairs/new/")
    for name, value in {
        "state": "Tokyo", "locality": "Shibuya-ku", "organization": "Xmail Co., Ltd.",
        "common_name": "mail.dojo.jp",
    }.items():  # fmt: skip
        page.fill(f"[name={name}]", value)
    page.select_option("[name=key_size]", "ec-256")
    with page.expect_navigation():
        page.click("button[name=judge]")
    check(page)
    assert page.locator("#judgement .tone-warning").count() == 0

    page.check("[name=install_now]")
    page.check("[name=which][value=all]")
    with page.expect_navigation():
        page.click("main form button.btn-primary")
    check(page)
    assert "pop.soopoo.jp" in page.inner_text("#judgement")
    assert "Thunderbird" in page.inner_text("#judgement")
    page.click("main form button.btn-primary")
    page.wait_for_url("**/deployments/*/")
    page.goto("/pairs/1/install/?host=2")
    check(page)
    assert "pop.soopoo.jp" in page.inner_text("#judgement")
