"""The data directory, and addresses of servers with passwords that the environment gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from xmailadmin import home


@pytest.mark.parametrize("special", ["/", "?", "#"])
def test_a_password_that_breaks_the_address_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, special: str
) -> None:
    url = f"postgres://portal:pass{special}word@db.example.jp:5432/portal"
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(home.HomeError, match=r"^DATABASE_URL .*percent") as raised:
        home.url_from_environment("DATABASE_URL", "")
    assert "pass" not in str(raised.value).replace("password in percent", "")
    assert raised.value.__context__ is None


def test_an_address_in_percent_form_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgres://portal:pass%2Fword@db.example.jp:5432/portal"
    monkeypatch.setenv("DATABASE_URL", url)
    assert home.url_from_environment("DATABASE_URL", "") == url
    monkeypatch.delenv("DATABASE_URL")
    assert home.url_from_environment("DATABASE_URL", "sqlite:////srv/x.sqlite3") == (
        "sqlite:////srv/x.sqlite3"
    )


def test_a_data_directory_made_beforehand_is_closed_to_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setenv("XMAILADMIN_HOME", str(tmp_path))
    assert home.directory() == tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_holds_something_keeps_its_mode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may be one that others need, such as /srv."""
    (tmp_path / "something").touch()
    tmp_path.chmod(0o755)
    monkeypatch.setenv("XMAILADMIN_HOME", str(tmp_path))
    assert home.directory() == tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o755
