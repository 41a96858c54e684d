"""The whole job in a real browser: three hosts, one pair, a form error, deployments, a roll back.

The hosts have no XMail: their services are unreachable, which is a finding and not a failure.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.doubles.mailroot import make_mailroot
from tests.portal import Portal
from tests.servers import free_port

pytestmark = pytest.mark.browser

# What a person reads at the turning points, in the language of their browser.
WORDS = {
    "en-US": {
        "refused": "is not a host name",
        "found": "is a MailRoot and can be written",
        "smtp": "refuses the connection",
    },
    "ja-JP": {
        "refused": "ホスト名ではありません",
        "found": "は MailRoot で",
        "smtp": "接続",
    },
}

DONE = ".headline.tone-ok"  # the summary that replaces the progress bar, in its good colour


def add_host(page: Page, name: str, mailroot: Path, found: str) -> None:
    page.goto("/hosts/add/")
    page.fill("[name=name]", name)
    page.fill("[name=mailroot]", str(mailroot))
    page.fill("[name=smtp_port]", str(free_port()))
    for service in ("smtps", "pop3", "pop3s", "ctrls"):
        page.fill(f"[name={service}_port]", "0")
    page.click("#mailroot-check >> xpath=preceding-sibling::button")
    expect(page.locator("#mailroot-check")).to_contain_text(found)
    page.press("[name=name]", "Enter")
    expect(page).to_have_url(re.compile(r"/hosts/\d+/(\?|$)"))
    expect(page.locator("h1")).to_contain_text(name)


def on_disk(mailroot: Path) -> tuple[bytes, bytes]:
    return (mailroot / "server.key").read_bytes(), (mailroot / "server.cert").read_bytes()


@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
def test_from_log_in_to_roll_back(
    portal: Portal, sign_in: SignIn, tmp_path: Path, locale: str
) -> None:
    words = WORDS[locale]
    mailroots = [make_mailroot(tmp_path / name) for name in ("mail1", "mail2", "mail3")]
    page = sign_in(portal, locale=locale)
    expect(page.locator("html")).to_have_attribute("lang", locale[:2])
    for mailroot in mailroots:
        add_host(page, mailroot.name, mailroot, words["found"])

    # A form error keeps what was typed, names the field and the reason, and makes nothing.
    page.goto("/pairs/new/")
    page.fill("[name=state]", "東京都")
    page.fill("[name=locality]", "渋谷区")
    page.fill("[name=organization]", "エックスメール株式会社")
    page.fill("[name=common_name]", "mail dojo.jp")
    page.fill("[name=aliases]", "dojo.jp 日本語.jp 192.0.2.1")
    page.check("[name=install_now]")
    for name in ("mail1", "mail2"):
        page.get_by_label(name).check()
    page.press("[name=days]", "Enter")
    expect(page.locator("[name=common_name]")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("main")).to_contain_text(words["refused"])
    expect(page.locator("[name=state]")).to_have_value("東京都")
    expect(page.get_by_label("mail2")).to_be_checked()

    # Corrected, it is made and installed while the page follows along without a reload by hand.
    page.fill("[name=common_name]", "mail.dojo.jp")
    page.press("[name=days]", "Enter")
    expect(page).to_have_url(re.compile(r"/(pairs|deployments)/\d+/(\?|$)"))
    page.goto("/deployments/1/")
    expect(page.locator(DONE)).to_be_visible(timeout=15_000)
    expect(page.locator("main")).to_contain_text("mail2")
    first = on_disk(mailroots[0])
    assert on_disk(mailroots[1]) == first
    assert not (mailroots[2] / "server.cert").exists()

    # The same pair to the third host, from the page of the pair.
    page.goto("/pairs/1/install/")
    page.get_by_label("mail3").check()
    page.locator("main form .btn-primary[type=submit]").click()
    expect(page).to_have_url(re.compile(r"/deployments/2/(\?|$)"))
    expect(page.locator(DONE)).to_be_visible(timeout=15_000)
    assert on_disk(mailroots[2]) == first
    for mailroot in mailroots:
        assert (mailroot / "server.key").stat().st_mode & 0o777 == 0o600

    # Another pair, made and installed everywhere, then one host rolled back to the first.
    page.goto("/pairs/new/")
    expect(page.locator("[name=organization]")).to_have_value("エックスメール株式会社")
    page.check("[name=install_now]")
    page.check("[name=which][value=all]")
    page.press("[name=days]", "Enter")
    page.goto("/deployments/3/")
    expect(page.locator(DONE)).to_be_visible(timeout=15_000)
    second = on_disk(mailroots[0])
    assert second != first
    page.goto("/hosts/1/rollback/")
    page.locator("main form [type=submit]").last.click()
    expect(page).to_have_url(re.compile(r"/deployments/4/(\?|$)"))
    expect(page.locator(DONE)).to_be_visible(timeout=15_000)
    assert on_disk(mailroots[0]) == first
    assert on_disk(mailroots[1]) == second

    # History tells each step, and the client notes as they were.
    page.goto("/history/")
    expect(page.locator("main tbody tr")).to_have_count(7)
    page.goto("/history/1/")
    expect(page.locator("main")).to_contain_text(words["smtp"])
    expect(page.locator("main")).to_contain_text("Thunderbird")
