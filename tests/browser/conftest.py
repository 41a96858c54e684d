"""A person at a browser: signed in, in one of the two languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.portal import Portal

SignIn = Callable[..., Page]


@pytest.fixture
def sign_in(browser: Browser) -> Iterator[SignIn]:
    """Returns a function that signs the administrator in and gives the page.

    A script error or a breach of the content security policy on any page fails the test.
    """
    contexts = []
    complaints: list[str] = []

    def do(portal: Portal, **options: object) -> Page:
        settings = {
            "locale": "en-US",
            "timezone_id": "Asia/Tokyo",
            "viewport": {"width": 1280, "height": 900},
        }
        context = browser.new_context(base_url=portal.url, **settings | options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.goto("/account/login/")
        page.fill("[name=login]", portal.username)
        page.fill("[name=password]", portal.password)
        page.press("[name=password]", "Enter")
        page.wait_for_url("**/")
        return page

    yield do
    for context in contexts:
        context.close()
    # The test of a refused form makes the browser report the 4xx answer, which is no mistake.
    assert not [text for text in complaints if "status of 4" not in text]
