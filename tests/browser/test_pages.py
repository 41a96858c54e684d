"""Every page as people meet it: two languages, two themes, a phone and a desk, a screen reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import SignIn
from tests.doubles.mailroot import make_mailroot
from tests.portal import Portal

pytestmark = pytest.mark.browser

PAGES = [
    "/", "/guide/", "/hosts/", "/hosts/add/", "/hosts/1/", "/hosts/1/edit/", "/hosts/1/delete/",
    "/hosts/1/rollback/", "/hosts/import/", "/diagnosis/", "/matrix/", "/pairs/", "/pairs/new/",
    "/pairs/1/", "/pairs/1/text/",
    "/pairs/1/install/", "/deployments/", "/deployments/1/", "/deployments/1/rollback/",
    "/history/", "/history/1/", "/clients/", "/clients/thunderbird/", "/account/",
    "/account/password/", "/account/logout/", "/no-such-page/",
]  # fmt: skip
MISSING = ["/no-such-page/"]
VIEWS = [
    ("en-US", "light", 1280),
    ("en-US", "dark", 390),
    ("ja-JP", "light", 390),
    ("ja-JP", "dark", 1280),
]


@pytest.fixture(scope="module")
def furnished_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A running portal in which every page has something to show."""
    home = tmp_path_factory.mktemp("furnished")
    portal = Portal(home / "portal")
    with portal.up():
        mailroot = make_mailroot(Path(home / "mail1"))
        portal.manage("add_host", "mail1", "--transport", "local", "--mailroot", str(mailroot))
        portal.manage(
            "issue_pair", "--country", "JP", "--state", "Tokyo", "--locality", "Shibuya-ku",
            "--organization", "Xmail Co., Ltd.", "--common-name", "mail.dojo.jp",
            "--key-type", "ec", "--install", "mail1",
        )  # fmt: skip
        yield portal


@pytest.mark.parametrize(("locale", "scheme", "width"), VIEWS)
def test_no_page_has_an_accessibility_violation_or_scrolls_sideways(
    furnished_portal: Portal, sign_in: SignIn, locale: str, scheme: str, width: int
) -> None:
    page = sign_in(
        furnished_portal, locale=locale, color_scheme=scheme,
        viewport={"width": width, "height": 900},
    )  # fmt: skip
    axe = Axe()
    found = []
    for path in PAGES:
        answer = page.goto(path)
        assert answer is not None
        assert path in MISSING or answer.ok, path
        results = axe.run(page)
        found += [
            f"{path}: {violation['id']}: {node['html'][:200]}"
            for violation in results.response["violations"]
            for node in violation["nodes"]
        ]
        beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if beyond > 0:
            found.append(f"{path}: scrolls {beyond} px sideways")
    assert not found


def test_the_sign_in_page_has_no_violation(furnished_portal: Portal, page: object) -> None:
    page.goto(f"{furnished_portal.url}/account/login/")  # type: ignore[attr-defined]
    assert Axe().run(page).response["violations"] == []
