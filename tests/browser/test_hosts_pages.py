"""Registering remote hosts in a real browser, and the pages about what they present."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.portal import Portal

pytestmark = pytest.mark.browser
OLD, NEW = make_pair("old.test"), make_pair("new.test")
REGION = "#mailroot-check"
VIEWS = [("en-US", "light", 1280), ("ja-JP", "dark", 390)]


@pytest.fixture
def xmail(tmp_path: Path) -> Iterator[XMail]:
    mailroot = make_mailroot(tmp_path / "MailRoot", key=OLD.key, certificate=OLD.certificate)
    with XMail(mailroot) as xmail:
        yield xmail


def judge(page: Page) -> None:
    """No accessibility violation, and nothing wider than the screen."""
    violations = Axe().run(page).response["violations"]
    assert [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in violations] == []
    beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert beyond <= 0, page.url


@pytest.mark.parametrize(("locale", "scheme", "width"), VIEWS)
def test_a_remote_host_from_the_form_to_a_new_identity(
    portal: Portal, sign_in: SignIn, xmail: XMail, locale: str, scheme: str, width: int
) -> None:
    page = sign_in(
        portal, locale=locale, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page.goto("/hosts/add/")
    expect(page.locator("[name=password]")).to_be_hidden()
    chosen = page.locator("[name=transport]").bounding_box()
    assert chosen is not None
    assert chosen["width"] > 240, "its longest choice is cut"
    page.select_option("[name=transport]", "sftp")
    expect(page.locator("[name=private_key]")).to_be_visible()
    expect(page.locator("[name=allow_plain_key]")).to_be_hidden()
    page.select_option("[name=transport]", "ctrl")
    expect(page.locator("[name=private_key]")).to_be_hidden()
    page.fill("[name=name]", "mail1")
    page.fill("[name=mailroot]", str(xmail.mailroot))
    page.fill("[name=user]", xmail.user)
    page.fill("[name=password]", xmail.password)
    page.fill("[name=port]", str(xmail.ports["ctrl"]))
    for name in ("smtp", "smtps", "pop3", "pop3s", "ctrls"):
        page.fill(f"[name={name}_port]", str(xmail.ports[name]))

    # Who presses Enter at once is asked to confirm first, and has to type the password again.
    page.press("[name=name]", "Enter")
    expect(page.locator("#id_confirmed")).to_be_focused()
    expect(page.locator("[name=password]")).to_have_value("")
    judge(page)
    page.fill("[name=password]", xmail.password)

    # A test shows whom it has met; what was typed stays, and nothing secret was sent.
    page.click("[formaction='/hosts/check/']")
    expect(page.locator(f"{REGION} #id_confirmed")).to_be_visible()
    expect(page.locator("#id_confirmed")).to_have_count(1)
    expect(page.locator(REGION)).to_contain_text(bytes.fromhex(OLD.sha256).hex(":").upper())
    assert xmail.seen.logins + xmail.seen.failed_logins == 0
    judge(page)
    page.check("#id_confirmed")
    page.click("[formaction='/hosts/check/']")
    expect(page.locator(REGION)).to_contain_text("old.test")
    expect(page.locator("[name=password]")).to_have_value(xmail.password)
    judge(page)
    page.press("[name=name]", "Enter")
    expect(page).to_have_url(re.compile(r"/hosts/1/(\?|$)"))
    expect(page.locator("#diagnosis .finding-list").first).to_be_visible()
    expect(page.locator("#host-state .tone-idle")).to_have_count(0)  # the head knows it as well
    judge(page)

    # Somebody changes the pair by hand: seen everywhere, trusted only after a person compared it.
    write_pair(xmail.mailroot, NEW.key, NEW.certificate)
    page.goto("/hosts/1/identity/")
    judge(page)
    page.locator("main form [type=submit]").click()
    expect(page.locator("main")).to_contain_text(bytes.fromhex(NEW.sha256).hex(":").upper())
    judge(page)
    page.check("#id_confirmed")
    page.locator("main form [type=submit]").click()
    expect(page).to_have_url(re.compile(r"/hosts/1/(\?|$)"))
    page.goto("/hosts/1/adopt/")
    judge(page)
    page.locator("main form [type=submit]").click()
    expect(page.locator("#installed + *, [aria-labelledby=installed]").first).to_be_visible()
    page.goto("/matrix/")
    judge(page)
    expect(page.locator("main tbody .tone-ok")).to_have_count(6, timeout=15_000)


@pytest.mark.parametrize(("locale", "scheme", "width"), VIEWS)
def test_hosts_from_a_file(
    portal: Portal, sign_in: SignIn, tmp_path: Path, locale: str, scheme: str, width: int
) -> None:
    file = tmp_path / "hosts.csv"
    bad = "name,transport,address\nmail1,ctrl,192.0.2.1\nmail2,ftp,169.254.169.254\n"
    page = sign_in(
        portal, locale=locale, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page.goto("/hosts/import/")
    judge(page)
    for content, rows in ((bad, 2), (bad.splitlines(keepends=True)[0] + "mail1,ctrl,a.test\n", 1)):
        file.write_text(content)
        page.set_input_files("[name=file]", file)
        page.locator("main form [type=submit]").last.click()
        expect(page.locator("main tbody tr")).to_have_count(rows)
        judge(page)
    page.fill("[name=password]", "secret")
    page.locator("main form [type=submit]").first.click()
    expect(page).to_have_url(re.compile(r"/hosts/$"))
    expect(page.locator("main tbody tr")).to_have_count(1)


def test_a_button_shows_that_it_works(portal: Portal, sign_in: SignIn) -> None:
    page = sign_in(portal)
    page.goto("/hosts/add/")
    button = page.locator(".form-actions .btn-primary")
    expect(button).not_to_have_attribute("data-busy", "")
    page.route("**/hosts/add/", lambda route: route.fulfill(status=204))  # the page stays
    page.fill("[name=name]", "mail1")
    page.press("[name=name]", "Enter")
    expect(button).to_have_attribute("data-busy", "")
    turning = button.evaluate("button => getComputedStyle(button, '::after').animationName")
    assert turning == "turn"


def test_a_button_rests_when_its_form_is_shown_again(portal: Portal, sign_in: SignIn) -> None:
    page = sign_in(portal)
    page.goto("/hosts/add/")
    button = page.locator(".form-actions .btn-primary")
    page.route("**/hosts/add/", lambda route: route.fulfill(status=204))
    page.fill("[name=name]", "mail1")
    page.press("[name=name]", "Enter")
    expect(button).to_have_attribute("data-busy", "")
    form = page.locator("form:has(.form-actions)").first
    expect(form).not_to_have_attribute("data-sent", "1", timeout=10_000)  # it took longer
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(button).not_to_have_attribute("data-busy", "")


def test_a_button_rests_when_nothing_comes_of_it(portal: Portal, sign_in: SignIn) -> None:
    portal.manage(
        "issue_pair", "--country", "JP", "--state", "Tokyo", "--locality", "Shibuya-ku",
        "--organization", "Xmail Co., Ltd.", "--common-name", "memo.test", "--key-type", "ec",
    )  # fmt: skip
    page = sign_in(portal)
    page.goto("/pairs/")
    page.locator("main tbody a").first.click()
    page.route("**/memo/", lambda route: route.fulfill(status=204))
    button = page.locator("#memo form [type=submit]")
    with page.expect_response("**/memo/"):
        button.click()
    expect(button).not_to_have_attribute("data-busy", "")
    page.fill("#memo textarea", "for the branch office")
    page.unroute("**/memo/")
    button.click()
    expect(page.locator("#memo")).to_contain_text("saved")


def test_a_page_that_renews_a_part_of_itself_leads_to_sign_in_when_the_session_has_ended(
    portal: Portal, sign_in: SignIn, tmp_path: Path
) -> None:
    off = [f"--{name}-port=0" for name in ("smtp", "smtps", "pop3", "pop3s", "ctrls")]
    mailroot = str(make_mailroot(tmp_path / "mail1"))
    portal.manage("add_host", "mail1", "--transport", "local", "--mailroot", mailroot, *off)
    page = sign_in(portal)
    # It waits for a diagnosis that is younger than this, and asks each second.
    coming = (datetime.now(UTC) + timedelta(seconds=80)).isoformat().replace("+", "%2B")
    page.goto(f"/hosts/1/?awaiting={coming}")
    expect(page.locator("h1")).to_contain_text("mail1")
    page.context.clear_cookies()
    page.wait_for_url(re.compile(r"/account/login/\?next="))
    expect(page.locator("[name=login]")).to_have_count(1)
    expect(page.locator("h1")).not_to_contain_text("mail1")
    page.fill("[name=login]", portal.username)
    page.fill("[name=password]", portal.password)
    page.press("[name=password]", "Enter")
    page.wait_for_url(re.compile(r"/hosts/1/\?awaiting="))
    expect(page.locator("h1")).to_contain_text("mail1")
