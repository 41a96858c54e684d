"""The edge of the portal: proxies, sizes, headers, errors that tell nothing away."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import path, reverse

from tests import people
from xmailadmin.embedded import Web
from xmailadmin.models import AuditEntry
from xmailadmin.proxies import FORWARDED, TrustedProxiesMiddleware, client_address
from xmailadmin.urls import urlpatterns as portal

CHECKOUT = Path(__file__).resolve().parent.parent.parent


# --- Proxies ----------------------------------------------------------------------------------


def networks(*texts: str) -> tuple[Any, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", "1.2.3.4", "203.0.113.5"),  # not a proxy of ours: whatever it says
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        (
            "127.0.0.1",
            "1.2.3.4, 198.51.100.7",
            "198.51.100.7",
        ),  # the first is the client's own word
        ("127.0.0.1", "1.2.3.4, 198.51.100.7, 10.0.0.9", "198.51.100.7"),  # two proxies of ours
        ("127.0.0.1", "10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "1.2.3.4, <script>", "127.0.0.1"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "198.51.100.7:4433", "198.51.100.7"),
        ("127.0.0.1", "1.2.3.4:1, 198.51.100.7:4433, 10.0.0.9:80", "198.51.100.7"),
        ("127.0.0.1", "[2001:db8::7]:4433", "2001:db8::7"),
        ("127.0.0.1", "[2001:db8::7]", "2001:db8::7"),
        ("127.0.0.1", "198.51.100.7:", "127.0.0.1"),
        ("127.0.0.1", "[198.51.100.7:1]", "127.0.0.1"),
        ("127.0.0.1", "fe80::1%" + "a" * 60, "fe80::1"),
        ("127.0.0.1", "[fe80::1%eth0]:4433", "fe80::1"),
        ("::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("", "198.51.100.7", ""),
    ],
)
def test_the_client_is_the_last_that_no_trusted_proxy_has(
    settings: Any, peer: str, forwarded: str, client: str
) -> None:
    settings.TRUSTED_PROXIES = networks("127.0.0.1", "::1", "10.0.0.0/8")
    assert client_address(peer, forwarded) == client


def seen_by_the_portal(rf: RequestFactory, peer: str) -> Mapping[str, Any]:
    claims: dict[str, Any] = {
        "HTTP_X_FORWARDED_FOR": "198.51.100.7",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "evil.example",
        "HTTP_FORWARDED": "for=198.51.100.7",
    }
    request = rf.get("/", REMOTE_ADDR=peer, **claims)
    TrustedProxiesMiddleware(lambda _: HttpResponse())(request)
    meta: Mapping[str, Any] = request.META
    return meta


def test_what_a_stranger_claims_is_dropped(rf: RequestFactory, settings: Any) -> None:
    settings.TRUSTED_PROXIES = networks("127.0.0.1")
    meta = seen_by_the_portal(rf, "203.0.113.5")
    assert meta["REMOTE_ADDR"] == "203.0.113.5"
    assert not set(FORWARDED) & set(meta)
    trusted = seen_by_the_portal(rf, "127.0.0.1")
    assert trusted["REMOTE_ADDR"] == "198.51.100.7"
    assert trusted["HTTP_X_FORWARDED_PROTO"] == "https"


@pytest.mark.parametrize("trusted", [(), networks("::1")])
def test_an_address_is_known_without_its_interface(
    rf: RequestFactory, settings: Any, trusted: tuple[Any, ...]
) -> None:
    """It would be any text, in a column for addresses."""
    settings.TRUSTED_PROXIES = trusted
    claimed = "fe80::1%" + "a" * 60
    peer = "::1" if trusted else claimed
    request = rf.get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=claimed)
    TrustedProxiesMiddleware(lambda _: HttpResponse())(request)
    assert request.META["REMOTE_ADDR"] == "fe80::1"


def test_a_proxy_that_names_nobody_is_told_once(
    rf: RequestFactory, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TRUSTED_PROXIES = networks("192.0.2.9")
    for _ in range(3):
        request = rf.get("/", REMOTE_ADDR="192.0.2.9", HTTP_X_FORWARDED_FOR="unknown")
        TrustedProxiesMiddleware(lambda _: HttpResponse())(request)
    assert caplog.text.count("192.0.2.9 names no client") == 1


@pytest.mark.django_db
def test_a_forged_address_does_not_get_around_the_limits(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ()
    login = reverse("account_login")
    for number in range(6):
        page = Client().post(
            login,
            {"login": "hanako", "password": "wrong"},
            HTTP_X_FORWARDED_FOR=f"198.51.100.{number}",
        )
    assert b"too many wrong attempts" in page.content
    assert set(AuditEntry.objects.values_list("address", flat=True)) == {"127.0.0.1"}


# --- Headers and errors -----------------------------------------------------------------------


@pytest.mark.django_db
def test_every_page_has_its_headers() -> None:
    client = people.signed_in(people.person("operator", "administrator"))
    for name in ("dashboard", "host_add", "account", "audit_list", "person_list", "mfa_index"):
        headers = client.get(reverse(name)).headers
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "no-store" in headers["Cache-Control"]


@pytest.mark.django_db
def test_cookies_are_kept_from_scripts(client: Client) -> None:
    people.person("viewer")
    client.post(reverse("account_login"), {"login": "hanako", "password": people.PASSWORD})
    client.get(reverse("account"))
    for name in ("sessionid", "csrftoken", "device"):
        assert client.cookies[name]["httponly"], name
        assert client.cookies[name]["samesite"] == "Lax", name


def broken(_request: object) -> HttpResponse:
    raise RuntimeError("a-secret-in-the-message")


urlpatterns = [*portal, path("broken/", broken, name="dashboard_broken")]


@pytest.mark.django_db
@pytest.mark.urls(__name__)
def test_an_error_tells_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from xmailadmin.access import ACCESS

    monkeypatch.setitem(ACCESS, "dashboard_broken", ACCESS["dashboard"])
    client = people.signed_in(people.person("viewer"))
    client.raise_request_exception = False
    response = client.get("/broken/")
    assert response.status_code == 500
    for told in (b"a-secret", b"RuntimeError", b"Traceback", str(CHECKOUT).encode(), b"Django"):
        assert told not in response.content
    missing = client.get("/no/such/page/")
    assert missing.status_code == 404
    for told in (b"urlpatterns", b"hosts/add", b"Django"):
        assert told not in missing.content


@pytest.mark.django_db
def test_a_forged_form_of_a_signed_in_person_is_on_record() -> None:
    client = Client(enforce_csrf_checks=True)
    people.sign_in(client, people.person("operator"))
    assert client.post(reverse("host_add")).status_code == 403
    assert Client(enforce_csrf_checks=True).post(reverse("account_login")).status_code == 403
    entry = AuditEntry.objects.get()
    told = {"method": "POST", "path": reverse("host_add")}
    assert (entry.action, entry.detail) == ("access.forged", told)


@pytest.mark.django_db
def test_too_many_requests_have_a_page(settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": None, "login": "2/m/ip"}
    for _ in range(3):
        response = Client().post(reverse("account_login"), {"login": "x", "password": "y"})
    assert response.status_code == 429
    assert b"Too many requests" in response.content


def test_the_production_profile_passes_djangos_checks(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XMAIL")}
    environment = {
        **kept,
        "DJANGO_SETTINGS_MODULE": "xmailadmin.settings",
        "XMAILADMIN_HOME": str(tmp_path),
        "XMAILADMIN_URL": "https://portal.example",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level=WARNING"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (
        0,
        "System check identified no issues (2 silenced).\n",
    ), done.stderr


@pytest.mark.parametrize(
    ("asked", "told"),
    [("", [False, False]), ("subdomains", [True, False]), ("preload", [True, True])],
)
def test_names_below_the_portals_are_bound_to_https_only_when_asked_for(
    tmp_path: Path, asked: str, told: list[bool]
) -> None:
    ask = (
        "from django.conf import settings as s; import json;"
        "print(json.dumps([s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.SECURE_HSTS_PRELOAD]))"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "xmailadmin.settings",
        "XMAILADMIN_HOME": str(tmp_path),
        "XMAILADMIN_URL": "https://example.jp",
        "XMAILADMIN_HSTS": asked,
    }
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=CHECKOUT, env=environment, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == told, done.stderr


def test_connections_are_bounded() -> None:
    config = Web().config
    assert config.limit_concurrency == 400
    assert config.timeout_keep_alive == 5


@pytest.mark.django_db
@pytest.mark.parametrize("wanted", ["//", "// ", "//\r\n", "//evil.example", "/\t/evil.example"])
def test_no_way_on_begins_like_another_host(client: Client, wanted: str) -> None:
    sent = {"language": "ja", "next": wanted}
    assert client.post(reverse("set_language"), sent).headers["Location"] == "/"
    people.sign_in(client, people.person("viewer"))
    address = reverse("account_login")
    assert client.get(address, {"next": wanted}).headers["Location"] == reverse("dashboard")


@pytest.mark.django_db
def test_the_language_is_chosen_on_the_same_page(client: Client) -> None:
    sent = {"language": "ja", "next": "/account/login/?next=/hosts/"}
    assert client.post(reverse("set_language"), sent).headers["Location"] == sent["next"]
    assert client.get(reverse("account_login")).headers["Content-Language"] == "ja"
