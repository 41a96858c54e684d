"""Settings that cannot be meant: one sentence that names the variable, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.portal import Portal
from xmailadmin import environment, home


@pytest.mark.parametrize("key", ["x", "short", "a" * 64, "abcabcabc" * 10])
def test_a_secret_key_that_can_be_guessed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str
) -> None:
    monkeypatch.setenv("XMAILADMIN_SECRET_KEY", key)
    with pytest.raises(home.HomeError, match=r"^XMAILADMIN_SECRET_KEY") as raised:
        environment.secret_key("XMAILADMIN_SECRET_KEY", "secret.key")
    assert "32 random characters" in str(raised.value)
    monkeypatch.delenv("XMAILADMIN_SECRET_KEY")
    monkeypatch.setenv("XMAILADMIN_HOME", str(tmp_path))
    (tmp_path / "secret.key").write_text(key + "\n")
    with pytest.raises(home.HomeError, match=r"secret\.key, can be guessed"):
        environment.secret_key("XMAILADMIN_SECRET_KEY", "secret.key")
    (tmp_path / "secret.key").unlink()
    made = environment.secret_key("XMAILADMIN_SECRET_KEY", "secret.key")
    assert made == (tmp_path / "secret.key").read_text().strip()


@pytest.mark.parametrize(
    "url",
    ["portal.example.jp", "https://portal.example.jp/sub", "https://portal.example.jp?",
     "https://a b", "https://portal.example.jp#x", "https://*", "https://u:pass-word@h", "https://[2001:db8::5",
     "https://ポータル.jp", "ftp://h", "https://", "https://h:0", "https://h:port"],
)  # fmt: skip
def test_an_address_that_links_cannot_be_made_of(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("XMAILADMIN_URL", url)
    with pytest.raises(home.HomeError, match=r"^XMAILADMIN_URL must be an address") as raised:
        environment.address("XMAILADMIN_URL", "")
    assert "pass-word" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["https://portal.example.jp", "http://a:1", "https://[2001:db8::5]", "https://my_portal"]
)
def test_an_address_that_is_one(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("XMAILADMIN_URL", f"{url}/")
    assert environment.address("XMAILADMIN_URL", "") == url


def test_a_portal_with_https_answers_at_ipv6_addresses_and_binds_its_cookies(
    new_portal: Portal,
) -> None:
    new_portal.extra_environment = {"XMAILADMIN_URL": "https://[2001:db8::5]"}
    script = (
        "from django.conf import settings; from xmailadmin import limits; "
        "from xmailadmin.views import account; print(*settings.ALLOWED_HOSTS); "
        "print(settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, limits.COOKIE, "
        "account.LINK_COOKIE)"
    )
    told = new_portal.manage("shell", "--verbosity=0", "-c", script)
    hosts, cookies = (line.split() for line in told.stdout.splitlines())
    assert "[2001:db8::5]" in hosts
    assert len(cookies) == 4
    assert all(name.startswith("__Host-") for name in cookies)


@pytest.mark.parametrize(
    "url",
    ["sqlite://name", "sqlite://name/x.db", "sqlite://", "sqlite:///", "sqlite:",
     "sqlite:////srv/x.db?CONN_MAX_AGE=x", "postgres://h/db?CONN_MAX_AGE=-1",
     "postgres://h/db?CONN_MAX_AGE=[]", "postgres://h/db?conn_health_checks=perhaps"],
)  # fmt: skip
def test_a_database_that_cannot_be_meant(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(home.HomeError, match=r"^DATABASE_URL"):
        environment.database("DATABASE_URL", "")


@pytest.mark.parametrize(
    ("url", "name", "password", "age"),
    [
        ("sqlite:////srv/x.db", "/srv/x.db", "", None),
        ("postgres://u:$HOME@h/db?CONN_MAX_AGE=60", "db", "$HOME", 60),
        ("postgres://u:p@h/db?CONN_MAX_AGE=None&sslmode=verify-full", "db", "p", None),
    ],
)
def test_a_database_that_is_meant(
    monkeypatch: pytest.MonkeyPatch, url: str, name: str, password: str, age: int | None
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    found = environment.database("DATABASE_URL", "")
    assert (found["NAME"], found["PASSWORD"], found.get("CONN_MAX_AGE")) == (name, password, age)


def test_a_dollar_names_no_other_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("$HOME", "$NO_SUCH_VARIABLE", "$", "$SETTING"):
        monkeypatch.setenv("SETTING", value)
        assert environment.as_it_is("SETTING", "") == value
        for read in (environment.host_names, environment.directories, environment.networks):
            with pytest.raises(home.HomeError, match=r"^SETTING: \$"):
                read("SETTING")
        with pytest.raises(home.HomeError, match=r"^SETTING must be 1 or 0, not \$"):
            environment.flag("SETTING", default=False)


def test_lists_and_switches_that_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETTING", " portal.example.jp,.dojo.jp, [::1] ,")
    assert environment.host_names("SETTING") == ["portal.example.jp", ".dojo.jp", "[::1]"]
    monkeypatch.setenv("SETTING", "/var/MailRoot, /srv/a b")
    assert environment.directories("SETTING") == [Path("/var/MailRoot"), Path("/srv/a b")]
    for word, meant in (("1", True), ("Yes", True), ("0", False), ("off", False), ("", True)):
        monkeypatch.setenv("SETTING", word)
        assert environment.flag("SETTING", default=True) is meant


@pytest.mark.parametrize(
    ("name", "value"),
    [("XMAILADMIN_SECRET_KEY", "x"), ("DATABASE_URL", "sqlite://name"),
     ("DATABASE_URL", "sqlite:////nowhere/x?CONN_MAX_AGE=x"),
     ("XMAILADMIN_ALLOWED_HOSTS", "$HOME")],
)  # fmt: skip
def test_a_command_refuses_in_one_line(new_portal: Portal, name: str, value: str) -> None:
    new_portal.extra_environment = {name: value}
    refused = new_portal.manage("prepare", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"xmailadmin: {name}")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://broker:6379/0", "redis://broker:6379/0"),
        ("rediss://broker:6379/0", "rediss://broker:6379/0?ssl_cert_reqs=required"),
        ("rediss://b/0?ssl_ca_certs=/ca", "rediss://b/0?ssl_ca_certs=/ca&ssl_cert_reqs=required"),
        ("rediss://broker/0?ssl_cert_reqs=none", "rediss://broker/0?ssl_cert_reqs=none"),
    ],
)
def test_a_broker_by_tls_has_to_be_the_one_that_is_meant(
    monkeypatch: pytest.MonkeyPatch, url: str, meant: str
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    assert environment.broker("CELERY_BROKER_URL", "memory://") == meant
