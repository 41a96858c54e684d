"""HTTPS with a pair of the portal's own, and no plain HTTP for others unless somebody insists."""

from __future__ import annotations

import http.client
import os
import re
import signal
import ssl
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from certs import pair
from certs.issue import issue
from tests.certs.conftest import spec
from tests.portal import CHECKOUT, Portal
from tests.servers import running
from xmailadmin import embedded, home, tls

NOW = timezone.now()


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings) -> None:
    monkeypatch.setenv("XMAILADMIN_HOME", str(tmp_path / "home"))
    settings.HTTPS = settings.ALLOW_HTTP = False
    settings.BIND = "127.0.0.1:8000"
    settings.PORTAL_HOST = "portal.dojo.jp"
    settings.ALLOWED_HOSTS = ["portal.dojo.jp", "localhost", "127.0.0.1", "[::1]"]


class TestExposure:
    @pytest.mark.parametrize(
        "bind", ["127.0.0.1:8000", "127.0.0.9:80", "[::1]:8000", "localhost:1"]
    )
    def test_this_machine_may_be_served_as_it_is(self, bind: str) -> None:
        tls.check_exposure(bind)

    @pytest.mark.parametrize(
        "bind",
        ["0.0.0.0:8000", ":8000", "[::]:8000", "192.0.2.1:80", "[2001:db8::1]:80", "portal:80"],
    )
    def test_others_only_by_tls_or_on_request(self, settings: Settings, bind: str) -> None:
        with pytest.raises(home.HomeError, match=r"--tls.*XMAILADMIN_ALLOW_HTTP=1") as raised:
            tls.check_exposure(bind)
        assert "\n" not in str(raised.value)
        settings.ALLOW_HTTP = True
        tls.check_exposure(bind)
        settings.ALLOW_HTTP, settings.HTTPS = False, True
        tls.check_exposure(bind)

    def test_up_and_web_refuse_before_they_listen(self, tmp_path: Path) -> None:
        for command, extra in (("up", {}), ("web", {"CELERY_BROKER_URL": "redis://127.0.0.1:1"})):
            portal = Portal(tmp_path / "portal", {"XMAILADMIN_BIND": "0.0.0.0:1", **extra})
            done = portal.manage(command, check=False)
            assert done.returncode == 1
            assert done.stdout == ""
            assert done.stderr.startswith("xmailadmin: XMAILADMIN_BIND=0.0.0.0:1 would serve")
            assert done.stderr.count("\n") == 1

    def test_tls_and_a_plain_address_contradict_each_other(self, new_portal: Portal) -> None:
        done = new_portal.manage("up", "--tls", check=False)
        assert done.returncode == 1
        assert "must begin with https://" in done.stderr
        assert done.stderr.count("\n") == 1


class TestOwnPair:
    def test_it_is_made_once_and_is_private(self) -> None:
        previous = os.umask(0)
        try:
            own = tls.own_pair(NOW)
        finally:
            os.umask(previous)
        for path in (own.key, own.certificate):
            assert path.stat().st_mode & 0o777 == 0o600
        key, certificate = own.key.read_bytes(), own.certificate.read_bytes()
        assert pair.check(key, certificate).usable
        facts = pair.facts(certificate)
        assert facts.names == ("portal.dojo.jp", "localhost", "127.0.0.1", "::1")
        assert facts.not_after - NOW < timedelta(days=398)
        assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", own.fingerprint)
        assert own.fingerprint.replace(":", "").lower() == facts.sha256
        assert tls.own_pair(NOW + timedelta(days=300)) == own
        assert own.key.read_bytes() == key

    @pytest.mark.parametrize("days", [368, 500])
    def test_it_is_renewed_before_it_runs_out_and_after(self, days: int) -> None:
        first = tls.own_pair(NOW)
        later = NOW + timedelta(days=days)
        second = tls.own_pair(later)
        assert second.sha256 != first.sha256
        assert second.not_after > later + timedelta(days=390)

    def test_it_is_renewed_when_the_portal_gets_another_name(self, settings: Settings) -> None:
        first = tls.own_pair(NOW)
        settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "other.dojo.jp", ".dojo.jp", "*"]
        settings.BIND = "192.0.2.7:443"
        second = tls.own_pair(NOW)
        assert second.sha256 != first.sha256
        names = pair.facts(second.certificate.read_bytes()).names
        assert set(names) >= {"other.dojo.jp", "192.0.2.7"}
        assert not [name for name in names if name.startswith((".", "*"))]
        settings.BIND = "[::]:443"
        assert "::" not in pair.facts(tls.own_pair(NOW).certificate.read_bytes()).names

    @pytest.mark.parametrize("left", ["half a file", None])
    def test_one_without_its_key_is_made_anew(self, left: str | None) -> None:
        """As after a crash between the two files."""
        first = tls.own_pair(NOW)
        first.key.unlink()
        if left:
            first.key.write_text(left)
        second = tls.own_pair(NOW)
        assert second.sha256 != first.sha256
        assert pair.check(second.key.read_bytes(), second.certificate.read_bytes()).usable

    @pytest.mark.parametrize("certificate", ["half a file", None])
    def test_a_key_that_somebody_brought_is_never_written_over(
        self, certificate: str | None
    ) -> None:
        brought = issue(spec(key_size="ec-256"), NOW).key_pem
        place = home.directory()
        (place / "tls.key").write_bytes(brought)
        if certificate:
            (place / "tls.cert").write_text(certificate)
        with pytest.raises(home.HomeError, match="delete both to have one made"):
            tls.own_pair(NOW)
        assert (place / "tls.key").read_bytes() == brought

    @pytest.mark.parametrize("days", [0, 380])
    def test_nor_beside_a_certificate_of_ours(self, days: int) -> None:
        tls.own_pair(NOW)
        place = home.directory()
        ours = (place / "tls.cert").read_bytes()
        brought = issue(spec(key_size="ec-256"), NOW).key_pem
        (place / "tls.key").write_bytes(brought)
        with pytest.raises(home.HomeError, match="delete both to have one made"):
            tls.own_pair(NOW + timedelta(days=days))
        assert (place / "tls.key").read_bytes() == brought
        assert (place / "tls.cert").read_bytes() == ours

    def test_a_renewal_that_broke_off_between_the_two_is_done_anew(self) -> None:
        tls.own_pair(NOW)
        key = home.directory() / "tls.key"
        before = key.read_bytes()
        later = tls.own_pair(NOW + timedelta(days=380))
        key.write_bytes(before)
        assert tls.own_pair(NOW + timedelta(days=380)).sha256 != later.sha256

    def test_one_that_was_made_before_keys_were_marked_is_renewed(self) -> None:
        own = tls.own_pair(NOW)
        unmarked = own.key.read_text().partition("\n")[2]
        assert unmarked.startswith("-----BEGIN")
        own.key.write_text(unmarked)
        assert tls.own_pair(NOW + timedelta(days=380)).sha256 != own.sha256

    def test_one_that_somebody_brought_is_kept(self) -> None:
        brought = issue(spec(key_size="ec-256"), NOW)
        place = home.directory()
        (place / "tls.key").write_bytes(brought.key_pem)
        (place / "tls.cert").write_bytes(brought.certificate_pem)
        own = tls.own_pair(NOW + timedelta(days=820))
        assert own.certificate.read_bytes() == brought.certificate_pem
        (place / "tls.key").write_bytes(issue(spec(key_size="ec-256"), NOW).key_pem)
        with pytest.raises(home.HomeError, match="no pair that can be served"):
            tls.own_pair(NOW)
        assert (place / "tls.cert").read_bytes() == brought.certificate_pem

    def test_a_name_that_no_certificate_can_bear_is_a_clear_line(self, settings: Settings) -> None:
        settings.PORTAL_HOST = "my_portal"
        with pytest.raises(home.HomeError, match=r"my_portal.*XMAILADMIN_URL"):
            tls.own_pair(NOW)

    async def test_a_running_portal_renews_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = tls.own_pair(NOW)
        web = embedded.Web(own)
        web.config.load()
        monkeypatch.setattr(timezone, "now", lambda: NOW + timedelta(days=380))
        await web.on_tick(1)
        assert web._own == own
        await web.on_tick(embedded.TICKS_A_DAY - 1)
        assert web._own is not None
        assert web._own.sha256 != own.sha256


class TestUp:
    def test_it_serves_https_that_can_be_verified_and_nothing_else(
        self, new_portal: Portal
    ) -> None:
        url = new_portal.url.replace("http://", "https://")
        new_portal.extra_environment = {"XMAILADMIN_URL": url}
        certificate = new_portal.home / "tls.cert"

        def get(path: str) -> tuple[http.client.HTTPResponse, datetime]:
            trusting = ssl.create_default_context(cafile=certificate)
            connection = http.client.HTTPSConnection(
                "localhost", new_portal.port, context=trusting, timeout=10
            )
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            assert isinstance(connection.sock, ssl.SSLSocket)
            assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")
            connection.close()
            return answer, timezone.now()

        def answers() -> bool:
            try:
                return get("/account/login/")[0].status == 200
            except OSError:
                return False

        with running(
            [sys.executable, str(CHECKOUT / "manage.py"), "up", "--tls"],
            new_portal.log, answers, number=signal.SIGINT, environment=new_portal.environment,
        ):  # fmt: skip
            answer, _ = get("/account/login/")
            assert answer.getheader("Strict-Transport-Security") is None
            cookies = answer.headers.get_all("Set-Cookie") or []
            assert cookies
            assert all("Secure" in cookie for cookie in cookies)
            plain = http.client.HTTPConnection("127.0.0.1", new_portal.port, timeout=10)
            plain.request("GET", "/account/login/")
            with pytest.raises((http.client.HTTPException, OSError)):
                plain.getresponse()
            plain.close()
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.load_verify_locations(certificate)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            connection = http.client.HTTPSConnection(
                "localhost", new_portal.port, context=old, timeout=10
            )
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            assert isinstance(connection.sock, ssl.SSLSocket)
            cipher = connection.sock.cipher()
            assert cipher is not None
            assert "ECDHE-ECDSA-" in cipher[0]
            connection.close()
        told = new_portal.log.read_text()
        sha256 = pair.fingerprint_sha256(certificate.read_bytes())
        assert sha256 in told.replace(":", "").lower()
        assert f"xmailadmin is at {url}" in told
        assert "Traceback" not in told
