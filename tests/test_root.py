"""What a person runs as root on the machine leaves the portal's own user able to go on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.portal import Portal
from tests.test_private_files import PAIR
from xmailadmin import home

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
USER = 65534  # anybody but root


def owners(place: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_uid for path in place.iterdir()}


@pytest.mark.slow
def test_what_root_writes_belongs_to_whom_the_data_directory_belongs_to(new_portal: Portal) -> None:
    (new_portal.home.parent / "passphrase").write_text("correct horse battery staple")
    new_portal.home.mkdir()
    os.chown(new_portal.home, USER, USER)
    new_portal.manage(*PAIR)
    made = owners(new_portal.home)
    assert made.keys() >= {"master.key", "secret.key", "xmailadmin.sqlite3", "audit.head"}
    assert set(made.values()) == {USER}
    new_portal.manage("rotate_master_key")
    new_portal.manage("verify_audit", "--remember")
    new_portal.manage(
        "backup", str(new_portal.home.parent / "backup"),
        "--passphrase-file", str(new_portal.home.parent / "passphrase"),
    )  # fmt: skip
    assert set(owners(new_portal.home).values()) == {USER}


def test_a_secret_keeps_its_owner_whomever_the_directory_belongs_to(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    home.create_secret(path, "old")
    assert path.stat().st_uid == 0
    os.chown(path, USER, USER)
    home.replace_secret(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (USER, USER)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_no_file_of_roots_is_given_away(tmp_path: Path, link: object) -> None:
    """Whoever owns the data directory might put any name there beforehand."""
    victim, place = tmp_path / "victim", tmp_path / "home"
    victim.touch(mode=0o600)
    place.mkdir()
    os.chown(place, USER, USER)
    assert callable(link)
    for name in ("audit.head.lock", "audit.head"):
        link(victim, place / name)
    try:
        os.close(home.lock_file(place / "audit.head.lock"))
    except OSError:
        assert link is os.symlink
    home.replace_secret(place / "audit.head", "1 -")
    assert (victim.stat().st_uid, victim.read_text()) == (0, "")
