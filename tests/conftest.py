"""Fixtures for every test: real servers, a real browser, the real portal."""

from __future__ import annotations

import importlib
import pkgutil
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.utils import timezone, translation

from tests import servers
from tests.portal import Portal
from tests.tally import FUZZ, table, tally

__all__ = ["tally"]

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts browser tests last: Playwright keeps an event loop running in the thread once it has
    started, so that neither async tests nor Django's database guard accept the thread after it."""
    items.sort(key=_drives_browser)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a case after the argument when the value is long: that makes a poor name, and a key
    made anew by each test process would give one test two names."""
    return argname if isinstance(val, str | bytes) and len(val) > 32 else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what was tried how often."""
    if FUZZ:
        terminalreporter.section("what was tried")
        reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
        for line in table(reports):
            terminalreporter.write_line(line)


def _drives_browser(item: pytest.Item) -> bool:
    return "playwright" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def _all_modules_loaded() -> None:
    """No module is loaded for the first time while a test has replaced a name in another one: it
    would keep the replacement."""
    for app in map(importlib.import_module, ("xmailadmin", "certs", "hosts")):
        for module in pkgutil.walk_packages(app.__path__, f"{app.__name__}."):
            importlib.import_module(module.name)


@pytest.fixture(scope="session", autouse=True)
def _signed_sessions() -> None:
    from tests import signed_sessions  # not before Django is set up

    signed_sessions.install()


@pytest.fixture(autouse=True)
def _database_beside_playwright(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets a browser test use the database: not the test is async, only Playwright's loop is."""
    if _drives_browser(request.node):
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture
def admin_client(admin_user: Any) -> Any:
    """A browser in which somebody who may everything has just signed in."""
    from tests import people  # not before Django is set up

    return people.signed_in(admin_user)


@pytest.fixture(autouse=True)
def _language_and_zone() -> Iterator[None]:
    """No test inherits the language or time zone that a request of another one switched on."""
    yield
    translation.deactivate()
    timezone.deactivate()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running Redis."""
    with servers.redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The DATABASE_URL of an empty database in a running PostgreSQL."""
    with servers.postgres_server() as url:
        yield url


@pytest.fixture
def postgres_database(postgres_server: str) -> str:
    """The DATABASE_URL of an empty database of this test's own."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    return f"{postgres_server.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.SSHServer]:
    """A running OpenSSH server with SFTP."""
    with servers.ssh_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Chromium as the system has it (Playwright's own would be a download), kept to itself."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    return {
        **browser_type_launch_args,
        "executable_path": found or servers.missing("chromium is not installed"),
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    }


@pytest.fixture(scope="session")
def base_url() -> None:
    """No page is the base: each portal has a port of its own. (The fixture that this replaces is
    a method, which pytest deprecates with a warning.)"""


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """An English-speaking viewer in Tokyo; `@pytest.mark.browser_context_args(locale="ja-JP")`
    makes it a Japanese-speaking one."""
    return {
        **browser_context_args,
        "locale": "en-US",
        "timezone_id": "Asia/Tokyo",
        "viewport": {"width": 1280, "height": 800},
    }


@pytest.fixture
def new_portal(tmp_path: Path) -> Portal:
    """A portal that is not running: its data directory does not even exist."""
    return Portal(tmp_path / "portal")


@pytest.fixture
def portal(new_portal: Portal) -> Iterator[Portal]:
    """A running portal of this test's own."""
    with new_portal.up():
        yield new_portal


@pytest.fixture(scope="module")
def shared_portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A running portal that the tests of one module share."""
    portal = Portal(tmp_path_factory.mktemp("shared") / "portal")
    with portal.up():
        yield portal
