"""Second factors, people and the audit in a real browser, a security key included."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.portal import Portal

pytestmark = pytest.mark.browser

PAGES = [
    "/account/", "/account/sessions/", "/account/two-factor/", "/account/two-factor/keys/",
    "/account/two-factor/keys/add/", "/account/two-factor/app/add/", "/account/two-factor/codes/",
    "/account/two-factor/codes/new/", "/account/two-factor/keys/confirm/", "/account/sso/",
    "/account/two-factor/keys/1/edit/", "/account/two-factor/keys/1/remove/",
    "/people/", "/people/invite/", "/people/1/", "/people/2/", "/people/2/roles/",
    "/people/2/disable/", "/people/2/link/", "/people/2/two-factor/", "/audit/", "/audit/?q=none",
]  # fmt: skip
WITHOUT_SIGNING_IN = ["/account/link/no-such-link/", "/account/inactive/", "/account/signup/"]


@pytest.fixture(scope="module")
def portal_of_people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    portal = Portal(tmp_path_factory.mktemp("people") / "portal")
    with portal.up():
        yield portal


def plug_in_a_key(page: Page) -> None:
    """Gives the browser a security key that is always touched at once."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "usb",
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def speak(page: Page, portal: Portal, language: str) -> None:
    """Chooses the language."""
    page.context.add_cookies([{"name": "django_language", "value": language, "url": portal.url}])


def violations(page: Page) -> list[str]:
    """What axe finds, and whether the page is wider than the screen."""
    found = [
        f"{page.url}: {violation['id']}: {node['html'][:200]}"
        for violation in Axe().run(page).response["violations"]
        for node in violation["nodes"]
    ]
    beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return found + ([f"{page.url}: scrolls {beyond} px sideways"] if beyond > 0 else [])


def test_from_a_password_to_an_invited_colleague(portal_of_people: Portal, sign_in: SignIn) -> None:
    page = sign_in(portal_of_people)
    plug_in_a_key(page)
    found = []

    # What needs a second factor says so, and leads to where one is set up.
    page.goto("/people/")
    page.click("text=Invite a person")
    page.wait_for_url("**/two-factor/needed/**")
    found += violations(page)
    page.click("text=Set up a second factor")
    page.click("text=Add a key")
    page.locator("[name=password]").wait_for()
    found += violations(page)
    page.fill("[name=password]", portal_of_people.password)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/two-factor/keys/add/")
    page.fill("[name=name]", "Blue key")
    page.click("#webauthn-add")

    # The recovery codes, and on to what was wanted.
    page.wait_for_url("**/two-factor/codes/")
    assert len(re.findall(r"\d{8}", page.inner_text("#recovery-codes"))) == 10
    found += violations(page)
    page.click("a:text-is('Continue')")
    page.wait_for_url("**/people/invite/")
    page.fill("[name=username]", "hanako")
    page.fill("[name=email]", "hanako")  # the page says what is wrong, in its own language
    page.press("[name=email]", "Enter")
    expect(page.locator(".invalid-feedback")).to_be_visible()
    expect(page.locator("[name=email]")).to_be_focused()
    page.fill("[name=email]", "")
    page.fill("[name=username]", "hanako")
    page.check("[name=roles][value=key_holder]")
    page.click("button:text-is('Invite')")
    link = page.inner_text("#link")
    found += violations(page)

    # The colleague, in a browser of her own.
    other = page.context.browser.new_context(base_url=portal_of_people.url)  # type: ignore[union-attr]
    hers = other.new_page()
    hers.goto(link)
    found += violations(hers)
    for name in ("new_password1", "new_password2"):
        hers.fill(f"[name={name}]", "quite-another-passphrase")
    hers.press("[name=new_password2]", "Enter")
    hers.wait_for_url("**/account/login/")
    hers.fill("[name=login]", "hanako")
    hers.fill("[name=password]", "quite-another-passphrase")
    hers.press("[name=password]", "Enter")
    hers.wait_for_url(f"{portal_of_people.url}/")
    assert hers.locator("nav >> text=People").count() == 0
    for path in WITHOUT_SIGNING_IN:
        other.clear_cookies()
        hers.goto(path)
        found += violations(hers)
    other.close()

    # Every page, at a desk and on a phone, in both languages.
    for language, scheme, width in (("en", "light", 1280), ("ja", "dark", 390)):
        speak(page, portal_of_people, language)
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        for path in PAGES:
            answer = page.goto(path)
            assert answer is not None
            assert answer.ok, path
            found += violations(page)
    assert not found

    # Signing in again takes the key.
    speak(page, portal_of_people, "en")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto("/account/logout/")
    page.click("main button:text-is('Sign out')")
    page.fill("[name=login]", portal_of_people.username)
    page.fill("[name=password]", portal_of_people.password)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/two-factor/sign-in/")
    assert violations(page) == []
    page.click("#webauthn-sign-in")
    page.wait_for_url(f"{portal_of_people.url}/")
    page.goto("/people/2/roles/")  # the key was just shown
    assert page.locator("h1").inner_text() == "Roles of hanako"
