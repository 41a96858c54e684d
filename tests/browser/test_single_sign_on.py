"""Connecting the login of a provider, in a browser that keeps to the content security policy."""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import SignIn
from tests.browser.test_people_pages import violations
from tests.doubles.oidc import Provider, claims
from tests.portal import Portal
from tests.xmailadmin.test_single_sign_on import environment


def test_a_login_is_named_and_then_connected(tmp_path: Path, sign_in: SignIn) -> None:
    with Provider(person=claims("1", "taro@example.jp")) as provider:
        portal = Portal(tmp_path / "portal", extra_environment=environment(provider))
        with portal.up():
            page = sign_in(portal)
            page.goto("/account/sso/")
            page.fill("[name=password]", portal.password)
            page.press("[name=password]", "Enter")
            page.click("text=Connect Dojo")
            page.wait_for_url("**/account/sso/confirm/")
            assert "taro@example.jp" in page.inner_text("main")
            assert not violations(page)
            page.click("button:text-is('Connect this login')")
            page.wait_for_url("**/account/sso/")
            assert "Your account is connected." in page.inner_text("main")
            page.goto("/account/logout/")
            page.click("main button:text-is('Sign out')")
            page.click("text=Sign in with Dojo")
            page.wait_for_url(f"{portal.url}/")
