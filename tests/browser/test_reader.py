"""The page for mail users as its readers meet it: on a phone, in two languages, and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import SignIn
from tests.doubles.mailroot import make_mailroot
from tests.portal import Portal

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
LONG_NAME = "mail-and-other-messages.head-office.dojo.jp"
CONTACT = "Help desk, extension 123, on working days from nine to five. " * 3
PDF_PAGE = re.compile(rb"/Type\s*/Page[^s]")


@pytest.fixture(scope="module")
def mail_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A running portal: a host with a pair, and another pair made to replace it."""
    home = tmp_path_factory.mktemp("mail")
    portal = Portal(home / "portal")
    with portal.up():
        mailroot = make_mailroot(Path(home / "mail1"))
        portal.manage(
            "add_host", "mail1", "--transport", "local", "--mailroot", str(mailroot),
            "--submission-port", "587",
        )  # fmt: skip
        for more in (["--install", "mail1"], []):
            portal.manage(
                "issue_pair", "--country", "JP", "--state", "Tokyo", "--locality", "Shibuya-ku",
                "--organization", "Xmail Co., Ltd.", "--common-name", LONG_NAME,
                "--key-type", "ec", *more,
            )  # fmt: skip
        yield portal


@pytest.fixture
def link(mail_portal: Portal, sign_in: SignIn) -> str:
    """The link of a page that the team has switched on and that announces a change."""
    page = sign_in(mail_portal)
    page.goto("/hosts/1/")
    if page.locator("#mail-users-link").count() == 0:
        page.click("#mail-users a.btn")
        expect(page.locator("[name=server_name]")).to_have_value(LONG_NAME)
        page.fill("[name=mail_domain]", "dojo.jp")
        page.fill("[name=contact]", CONTACT[:200])
        page.click("main form button[type=submit]")
        page.locator("#mail-users a.btn").first.click()
        page.fill("[name=day]", (datetime.now(UTC) + timedelta(days=9)).date().isoformat())
        page.click("main form button[type=submit]")
    expect(page.locator("#mail-users .message")).to_be_visible()
    expect(page.locator("#mail-users img")).not_to_have_js_property("naturalWidth", 0)
    return page.locator("#mail-users-link").inner_text()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complains about: script errors, and breaches of the security policy."""
    found: list[str] = []
    yield found
    assert not found


def reader(browser: Browser, complaints: list[str], **options: object) -> BrowserContext:
    """A browser that has never been here."""
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on(
        "console",
        lambda said: complaints.append(said.text) if said.type == "error" else None,
    )
    return context


def look(page: Page) -> list[str]:
    """What is wrong with how the page can be used."""
    found = [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in Axe().run(page).response["violations"]
        for node in violation["nodes"]
    ]
    beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return [*found, f"scrolls {beyond} px sideways"] if beyond > 0 else found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("locale", "other"), [("en-US", "ja"), ("ja-JP", "en")])
def test_from_the_link_to_the_settings_on_a_phone(
    browser: Browser, link: str, complaints: list[str], locale: str, other: str, scheme: str
) -> None:
    context = reader(
        browser, complaints, locale=locale, viewport=PHONE, color_scheme=scheme, has_touch=True
    )
    page = context.new_page()
    page.goto(link)
    expect(page.locator("html")).to_have_attribute("lang", locale[:2])
    receiving, sending = page.locator(".reader-card").all()
    for card, port, other_port in ((receiving, "995", "110"), (sending, "465", "587")):
        expect(card.locator("code").first).to_have_text(LONG_NAME)
        expect(card.locator("code").nth(1)).to_have_text(port)
        expect(card).to_contain_text("SSL/TLS")
        expect(card.locator(".reader-or")).to_contain_text(other_port)
        expect(card).to_contain_text("@dojo.jp")
    expect(page.locator("#certificate .fingerprint").first).to_have_text(
        re.compile(r"^([0-9A-F]{2}:){31}[0-9A-F]{2}$")
    )
    expect(page.locator("#change .fingerprint")).to_have_count(2)
    for details in page.locator("details").all():
        details.locator("summary").click()
    assert look(page) == []

    page.locator(f"a[hreflang={other}]").click()
    expect(page.locator("html")).to_have_attribute("lang", other)
    expect(page.locator("code").first).to_have_text(LONG_NAME)
    assert look(page) == []
    assert context.cookies() == []
    context.close()


def test_the_files_are_downloaded(browser: Browser, link: str, complaints: list[str]) -> None:
    context = reader(browser, complaints, locale="en-US", viewport=PHONE)
    page = context.new_page()
    page.goto(link)
    page.locator("details summary").first.click()
    with page.expect_download() as profile:
        page.click("a.reader-button")
    assert profile.value.suggested_filename == f"{LONG_NAME}.mobileconfig"
    with page.expect_download() as certificate:
        page.click(".reader-files a >> nth=0")
    assert certificate.value.suggested_filename == f"{LONG_NAME}.cer"
    context.close()


@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_prints_on_one_sheet(
    browser: Browser, link: str, complaints: list[str], language: str
) -> None:
    context = reader(browser, complaints, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{link}?lang={language}")
    for details in page.locator("details").all():
        details.locator("summary").click()  # what was opened shall not spill onto a second sheet
    sheet = page.pdf(format="A4")
    assert len(PDF_PAGE.findall(sheet)) == 1
    page.emulate_media(media="print")
    expect(page.locator("#certificate .fingerprint").first).to_be_visible()
    expect(page.locator("#elsewhere img")).to_be_visible()
    expect(page.locator("#elsewhere .reader-link")).to_have_text(link)
    expect(page.locator("#programs")).to_be_hidden()
    context.close()


def test_the_pages_of_the_team_can_be_used_by_everybody(
    mail_portal: Portal, sign_in: SignIn, link: str
) -> None:
    for width, scheme, locale in ((1280, "light", "en-US"), (390, "dark", "ja-JP")):
        page = sign_in(
            mail_portal, locale=locale, color_scheme=scheme,
            viewport={"width": width, "height": 900},
        )  # fmt: skip
        for path in (
            "/hosts/1/", "/pairs/1/", "/hosts/1/mail-users/", "/pairs/1/mail-users/",
            "/mail-users/1/announce/", "/mail-users/1/renew/", "/mail-users/1/withdraw/",
        ):  # fmt: skip
            page.goto(path)
            assert look(page) == [], path


def test_a_withdrawn_link_leads_to_a_page_that_says_so(
    mail_portal: Portal, sign_in: SignIn, browser: Browser, link: str
) -> None:
    page = sign_in(mail_portal)
    page.goto("/mail-users/1/withdraw/")
    page.click("main form button[type=submit]")
    expect(page.locator("#mail-users-link")).to_have_count(0)
    for locale in ("en-US", "ja-JP"):
        context = reader(browser, [], locale=locale, viewport=PHONE)
        stranger = context.new_page()
        answer = stranger.goto(link)
        assert answer is not None
        assert answer.status == 404
        assert urlsplit(stranger.url).path.startswith("/r/")
        assert look(stranger) == []
        context.close()
