"""A backup brings the whole portal back, on either database; a damaged one changes nothing."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests.doubles.mailroot import make_mailroot
from tests.portal import CHECKOUT, Portal
from tests.tally import sample
from xmailadmin import backup as backup_module

PASSPHRASE = "正しい馬 battery staple"

# Everything that a person could miss, but not what backups and restores themselves add.
FINGERPRINT = """
import hashlib, json
from django.apps import apps
from certs.models import Pair
from hosts.models import Host
from xmailadmin.backup import _models, _Exact
from xmailadmin.models import AuditHead
from xmailadmin import second_factor
for model in _models():
    if model is AuditHead:
        continue
    rows = model._base_manager.exclude(**(
        {"action__startswith": "portal."} if model.__name__ == "AuditEntry" else {}))
    digest = hashlib.sha256()
    fields = [field.attname for field in model._meta.concrete_fields]
    many = [field.name for field in model._meta.many_to_many]
    for row in rows.order_by("pk"):
        values = [bytes(v) if isinstance(v, memoryview) else v for v in
                  (getattr(row, name) for name in fields)]
        linked = [sorted(map(str, getattr(row, name).all())) for name in many]
        digest.update(json.dumps(
            [repr(v) if isinstance(v, bytes) else v for v in values] + linked,
            cls=_Exact, sort_keys=True).encode())
    print(model._meta.label, rows.count(), digest.hexdigest())
for pair in Pair.objects.order_by("pk"):
    print("key", pair.pk, hashlib.sha256(pair.private_key() or b"").hexdigest())
    print("cert", pair.pk, hashlib.sha256(pair.certificate_file() or b"").hexdigest())
for host in Host.objects.order_by("pk"):
    print("host", host.pk, hashlib.sha256(repr(vars(host.target().credential)).encode()).hexdigest())
"""  # noqa: E501

PEOPLE = """
from tests.people import person, set_up_second_factor
from xmailadmin import roles
from xmailadmin.models import User
hanako = person("operator", "key_holder")
set_up_second_factor(hanako)
gone = person("viewer", username="gone")
from xmailadmin import audit
audit.record(gone, "signin", gone)
User.objects.filter(pk=gone.pk).delete()
from certs.models import Pair
Pair.objects.adopt(None, b"rubbish that may be secret", found_on="mail9")
"""


def shell(portal: Portal, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
        cwd=CHECKOUT, env=portal.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def passphrase_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("passphrase") / "passphrase"
    file.write_text(PASSPHRASE + "\n", encoding="utf-8")
    file.chmod(0o600)
    return str(file)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Portal:
    """A portal with rows of every kind."""
    home = tmp_path_factory.mktemp("whole")
    portal = Portal(home / "portal")
    password = home / "password"
    password.write_text("a host's password")
    portal.manage("add_host", "mail1", "--transport", "local",
                  "--mailroot", str(make_mailroot(home / "mail1")), "--password-file",
                  str(password), "--smtp-port", "0", "--smtps-port", "0", "--pop3-port", "0",
                  "--pop3s-port", "0", "--ctrls-port", "0")  # fmt: skip
    for name in ("a.dojo.jp", "b.dojo.jp"):
        portal.manage("issue_pair", "--country", "JP", "--state", "東京都", "--locality", "渋谷区",
                      "--organization", "エックスメール株式会社", "--common-name", name,
                      "--key-type", "ec", "--memo", "春の更新", "--install", "mail1")  # fmt: skip
    portal.manage("rollback_host", "mail1")
    shell(portal, PEOPLE)
    return portal


@pytest.fixture(scope="module")
def backup(portal: Portal, passphrase_file: str) -> Path:
    path = portal.home.parent / "portal.backup"
    told = portal.manage("backup", str(path), "--passphrase-file", passphrase_file).stdout
    assert f"{path} holds" in told
    return path


def restored(portal: Portal, path: Path, passphrase_file: str) -> str:
    """Restores what must be restored without a word on stderr."""
    done = portal.manage("restore", str(path), "--passphrase-file", passphrase_file)
    assert done.stderr == ""
    return done.stdout


def same(portal: Portal, other: Portal) -> bool:
    before, after = (shell(each, FINGERPRINT).splitlines() for each in (portal, other))
    assert before == after
    return len(before) > 20


def test_round_trip_onto_an_empty_directory(
    portal: Portal, backup: Path, passphrase_file: str, tmp_path: Path
) -> None:
    again = Portal(tmp_path / "again", port=portal.port)
    told = restored(again, backup, passphrase_file)
    assert "rows and the keys are restored" in told
    assert same(portal, again)
    assert (again.home / "master.key").read_text() == (portal.home / "master.key").read_text()
    assert (again.home / "secret.key").read_text() == (portal.home / "secret.key").read_text()
    assert "complete and unchanged" in again.manage("verify_audit").stdout
    # And it works on: people, hosts and pairs are where they were.
    assert again.manage("issue_pair", "--country", "JP", "--state", "S", "--locality", "L",
                        "--organization", "O", "--common-name", "c.dojo.jp", "--key-type", "ec",
                        "--install", "mail1").returncode == 0  # fmt: skip
    again.manage("rotate_master_key")
    assert "complete and unchanged" in again.manage("verify_audit").stdout


def test_round_trip_through_postgresql(
    portal: Portal, backup: Path, passphrase_file: str, tmp_path: Path, postgres_server: str
) -> None:
    url, _, _ = postgres_server.rpartition("/")
    with psycopg.connect(postgres_server.replace("postgres://", "postgresql://"),
                         autocommit=True) as admin:  # fmt: skip
        admin.execute("CREATE DATABASE restored")
    grown = Portal(tmp_path / "grown", {"DATABASE_URL": f"{url}/restored"})
    restored(grown, backup, passphrase_file)
    assert same(portal, grown)
    assert "complete and unchanged" in grown.manage("verify_audit").stdout
    grown.manage("issue_pair", "--country", "JP", "--state", "S", "--locality", "L",
                 "--organization", "O", "--common-name", "c.dojo.jp",
                 "--key-type", "ec", "--install", "mail1")  # fmt: skip
    back = tmp_path / "back.backup"
    grown.manage("backup", str(back), "--passphrase-file", passphrase_file)
    small = Portal(tmp_path / "small")
    restored(small, back, passphrase_file)
    assert same(grown, small)
    assert "complete and unchanged" in small.manage("verify_audit").stdout


def test_restored_beside_its_own_keys(
    portal: Portal, backup: Path, passphrase_file: str, tmp_path: Path
) -> None:
    """The same portal moves to another database, with the data directory that it has."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name in ("master.key", "secret.key"):
        shutil.copy(portal.home / name, home / name)
    moved = Portal(home, {"DATABASE_URL": f"sqlite:///{tmp_path}/other.sqlite3"})
    restored(moved, backup, passphrase_file)
    assert same(portal, moved)


def refusal(portal: Portal, *arguments: str) -> str:
    done = portal.manage(*arguments, check=False)
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def left(home: Path) -> list[Path]:
    """The data directory, if there is one, and what is in it."""
    return [home, *home.iterdir()] if home.exists() else []


class TestRefusals:
    @pytest.fixture
    def empty(self, tmp_path: Path) -> Portal:
        return Portal(tmp_path / "empty")

    def test_a_wrong_passphrase(self, empty: Portal, backup: Path, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong"
        wrong.write_text("wrong")
        wrong.chmod(0o600)
        told = refusal(empty, "restore", str(backup), "--passphrase-file", str(wrong))
        assert "passphrase is wrong" in told
        assert left(empty.home) == []

    def test_no_passphrase(self, portal: Portal, empty: Portal, backup: Path) -> None:
        assert "--passphrase-file" in refusal(empty, "restore", str(backup))
        assert "--passphrase-file" in refusal(portal, "backup", str(empty.home))
        assert left(empty.home) == []

    def test_a_directory_that_is_there_stays(
        self, empty: Portal, passphrase_file: str, tmp_path: Path
    ) -> None:
        empty.home.mkdir(mode=0o700)
        (empty.home / "secret.key").write_text("Kanji5" * 9)
        (empty.home / "secret.key").chmod(0o600)
        (tmp_path / "file").write_text("no backup")
        refusal(empty, "restore", str(tmp_path / "file"), "--passphrase-file", passphrase_file)
        assert left(empty.home) == [empty.home, empty.home / "secret.key"]
        assert (empty.home / "secret.key").read_text().strip() == "Kanji5" * 9

    def test_a_passphrase_that_is_soon_guessed(self, portal: Portal, tmp_path: Path) -> None:
        file, short = tmp_path / "backup", tmp_path / "short"
        short.write_text("elevenchars\n")
        short.chmod(0o600)
        told = refusal(portal, "backup", str(file), "--passphrase-file", str(short))
        assert "at least 12 characters" in told
        assert not file.exists()

    @pytest.mark.parametrize(
        ("passphrase", "weak"),
        [
            (" " * 20, True),
            ("  elevenchars  ", True),
            ("a" * 12, True),
            ("abababababab", True),
            ("123456789012", True),
            ("ABCDEFGHIJKLMN", True),
            ("hunter2hunter2", True),
            ("1q2w3e4r5t6y", True),
            ("correct horse battery staple", False),
            ("kX9-qP2_vLm4", False),
            ("ひらがなで書いた長い合い言葉", False),
        ],
    )
    def test_a_passphrase_that_everybody_would_try(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passphrase: str, weak: bool
    ) -> None:
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was taken"))
        expected = backup_module.BackupError if weak else pytest.fail.Exception
        with pytest.raises(expected):
            backup_module.write_backup(tmp_path / "backup", passphrase)

    @pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
    def test_what_is_no_file_is_refused_at_once(
        self, empty: Portal, passphrase_file: str, tmp_path: Path, kind: str
    ) -> None:
        path = tmp_path / "odd"
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        else:
            path = Path("/dev/zero")
        told = refusal(empty, "restore", str(path), "--passphrase-file", passphrase_file)
        assert str(path) in told

    @pytest.mark.parametrize("by", ["option", "environment"])
    def test_a_passphrase_that_others_can_read_is_warned_of(
        self, portal: Portal, tmp_path: Path, by: str
    ) -> None:
        open_file = tmp_path / "open"
        open_file.write_text(PASSPHRASE)
        words = ["--passphrase-file", str(open_file)] if by == "option" else []
        if by == "environment":
            told_by = {"XMAILADMIN_BACKUP_PASSPHRASE_FILE": str(open_file)}
            portal = replace(portal, extra_environment=told_by)
        for mode, warned in ((0o644, True), (0o640, True), (0o600, False)):
            open_file.chmod(mode)
            file = tmp_path / f"backup{mode}"
            done = portal.manage("backup", str(file), *words)
            assert ("others can read" in done.stderr) == warned
            assert file.exists()

    def test_a_portal_that_is_there_stays(
        self, portal: Portal, backup: Path, passphrase_file: str
    ) -> None:
        before = shell(portal, FINGERPRINT)
        keys = (portal.home / "master.key").read_text()
        told = refusal(portal, "restore", str(backup), "--passphrase-file", passphrase_file)
        assert "a portal already" in told
        assert shell(portal, FINGERPRINT) == before
        assert (portal.home / "master.key").read_text() == keys

    @pytest.mark.parametrize("damaged", [False, True])
    def test_a_portal_with_its_rows_in_another_database_keeps_its_keys(
        self, empty: Portal, backup: Path, passphrase_file: str, tmp_path: Path, damaged: bool
    ) -> None:
        empty.manage("prepare")
        if damaged:
            (empty.home / "master.key").write_text("damag\u00e9", encoding="utf-8")
        names = [empty.home / name for name in ("master.key", "secret.key", "audit.head")]
        before = [file.read_bytes() for file in names]
        other = tmp_path / "other.sqlite3"
        elsewhere = replace(empty, extra_environment={"DATABASE_URL": f"sqlite:///{other}"})
        told = refusal(elsewhere, "restore", str(backup), "--passphrase-file", passphrase_file)
        assert f"{empty.home}/master.key is not among the keys of the backup" in told
        assert [file.read_bytes() for file in names] == before
        assert not other.exists()

    def test_a_file_that_is_there_stays(
        self, portal: Portal, passphrase_file: str, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("precious")
        refusal(portal, "backup", str(tmp_path / "file"), "--passphrase-file", passphrase_file)
        assert (tmp_path / "file").read_text() == "precious"

    def test_a_backup_of_another_version(
        self, portal: Portal, empty: Portal, passphrase_file: str, tmp_path: Path
    ) -> None:
        code = (
            "from xmailadmin import backup; from pathlib import Path; import sys; "
            "backup._schema = lambda: ['xmailadmin.0099_future']; "
            f"backup.write_backup(Path({str(tmp_path / 'future')!r}), {PASSPHRASE!r})"
        )
        shell(portal, code)
        told = refusal(empty, "restore", str(tmp_path / "future"), "--passphrase-file",
                       passphrase_file)  # fmt: skip
        assert "another version" in told
        assert left(empty.home) == []

    def test_the_environment_has_another_master_key(
        self, empty: Portal, backup: Path, passphrase_file: str
    ) -> None:
        empty.extra_environment = {"XMAILADMIN_MASTER_KEYS": "A" * 43 + "="}
        told = refusal(empty, "restore", str(backup), "--passphrase-file", passphrase_file)
        assert "XMAILADMIN_MASTER_KEYS lacks" in told
        assert left(empty.home) == []


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """What this process and its children write ends there, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestFullDisk:
    def test_while_it_is_written(
        self, portal: Portal, passphrase_file: str, tmp_path: Path
    ) -> None:
        for size in sample([4096, 100_000, 1_000_000], [100_000]):
            with no_file_longer_than(size):
                told = refusal(portal, "backup", str(tmp_path / "b"), "--passphrase-file",
                               passphrase_file)  # fmt: skip
            assert "cannot be" in told
            assert not (tmp_path / "b").exists()

    def test_while_it_is_restored(self, backup: Path, passphrase_file: str, tmp_path: Path) -> None:
        empty = Portal(tmp_path / "empty")
        for size in sample([4096, 100_000, 1_000_000, 1_250_000, 1_400_000], [100_000, 1_250_000]):
            with no_file_longer_than(size):
                refusal(empty, "restore", str(backup), "--passphrase-file", passphrase_file)
            assert left(empty.home) == []
        restored(empty, backup, passphrase_file)
