"""Rotating the master key: every secret opens at every moment, and none stays on the old key."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection

from certs.models import Pair
from hosts.host_form import HostForm
from hosts.models import Host
from hosts.models.host import ChangedMeanwhile
from tests.factories import ENDPOINTS_OFF, local_host
from tests.portal import CHECKOUT, Portal
from tests.tally import Tally, sample
from tests.test_vault import master_key
from xmailadmin import home, rotation, vault
from xmailadmin.models import AuditEntry, AuditHead


def run(portal: Portal, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "tests.rotating", *arguments],
        cwd=CHECKOUT, env=portal.environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


@contextmanager
def load(portal: Portal) -> Iterator[dict[str, object]]:
    """Reads and changes secrets while the block runs; then says how often, and what failed."""
    told: dict[str, object] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rotating", "load"],
        cwd=CHECKOUT, env=portal.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield told
        output, _ = process.communicate(b"", timeout=60)
    told.update(json.loads(output))


def key_file(portal: Portal) -> list[str]:
    return (portal.home / "master.key").read_text().strip().split(",")


@pytest.mark.slow
def test_a_killed_rotation_loses_nothing_and_is_taken_up_again(
    new_portal: Portal, tally: Tally
) -> None:
    points, rows = sample(20, 5), sample(1000, 150)
    new_portal.home.mkdir()
    told = run(new_portal, "die", str(new_portal.home), str(rows), str(points)).splitlines()
    assert len(told) == points
    for line in told:
        case = json.loads(line)
        killed, resumed = case["killed"], case["resumed"]
        assert case["ended"] is None, "it was killed"
        assert sum(killed["sealed"].values()) == rows, "every secret opened after the kill"
        assert set(killed["sealed"]) <= set(killed["keys"])
        assert resumed["sealed"] == {resumed["keys"][0]: rows}, "0 are left on the old key"
        assert len(resumed["keys"]) == 1
        assert killed["audit"] == resumed["audit"] == [], "the audit bears its seal all the time"
        assert not [name for name in resumed["files"] if name.startswith(".")], "no key left over"
        tally.add("rotation")


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_portal_works_on_while_keys_are_rotated(
    new_portal: Portal, request: pytest.FixtureRequest, database: str
) -> None:
    if database == "postgresql":
        url = request.getfixturevalue("postgres_database")
        new_portal.extra_environment = {"DATABASE_URL": url}
    run(new_portal, "fill", "200")
    before = key_file(new_portal)
    with load(new_portal) as told:
        time.sleep(1)
        for _ in range(sample(3, 1)):
            new_portal.manage("rotate_master_key")
    after = key_file(new_portal)
    assert len(before) == len(after) == 1
    assert before != after
    assert told["errors"] == []
    assert told["read"], "all secrets were read again and again"
    assert told["written"]
    assert "1 secrets" not in new_portal.manage("verify_audit").stdout


@pytest.fixture
def old_and_new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data directory of this test's own, with one master key."""
    monkeypatch.setenv("XMAILADMIN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(rotation, "GRACE_S", 0)
    vault.create_master_key()


@pytest.mark.django_db
@pytest.mark.usefixtures("old_and_new")
class TestRotate:
    def test_old_keys_are_dropped_and_it_is_on_record(self, tmp_path: Path) -> None:
        pair = Pair.objects.adopt(b"key", b"and another", found_on="host")
        host = local_host(tmp_path)
        host.keep_secrets(password="secret")
        (before,) = vault.key_ids()
        assert rotation.rotate() == 4, "and the key of the audit's seal"
        (after,) = vault.key_ids()
        assert after != before
        pair.refresh_from_db()
        host.refresh_from_db()
        assert pair.private_key() == b"key"
        assert pair.certificate_file() == b"and another"
        assert host.target().credential.password == "secret"
        entry = AuditEntry.objects.first()
        assert entry is not None
        assert vault.sealed_by(AuditHead.objects.get().key_sealed) == after
        assert (entry.action, entry.detail) == ("vault.rotate", {"secrets": 4, "key": after})

    def test_an_unopenable_secret_stops_it_and_keeps_the_old_key(self) -> None:
        Pair.objects.adopt(b"key", None, found_on="host")
        Pair.objects.filter().update(key_sealed=vault.seal(b"key", "elsewhere"))
        before = vault.key_ids()
        with pytest.raises(vault.VaultError):
            rotation.rotate()
        assert vault.key_ids()[1:] == before

    def test_a_key_that_one_that_was_killed_left_is_not_kept_either(self) -> None:
        """Whoever saw the old key in the file, or in a backup, saw that one, too."""
        vault.add_master_key()
        seen = set(vault.key_ids())
        rotation.rotate()
        assert len(seen) == 2
        assert not seen & set(vault.key_ids())

    def test_a_second_one_at_once_is_refused(self) -> None:
        with home.alone("rotation") as alone:
            assert alone
            with pytest.raises(rotation.RotationError, match="running"):
                rotation.rotate()

    def test_a_form_that_was_open_meanwhile_brings_nothing_old_back(self, tmp_path: Path) -> None:
        """Neither a secret sealed with a key that is gone nor the lease of a worker that is.

        A secret that is sealed anew cannot be told from one that a colleague has entered anew:
        that needs the old key. So the form is refused once, as after any change.
        """
        host = local_host(tmp_path)
        host.keep_secrets(password="secret")
        values = {name: getattr(host, name) for name in HostForm.Meta.fields}
        sent = {name: "" if value is None else value for name, value in values.items()}
        sent |= ENDPOINTS_OFF | {"memo": "changed", "shown": HostForm(instance=host).shown}
        form = HostForm(sent, instance=Host.objects.get(pk=host.pk))
        rotation.rotate()
        Host.objects.filter(pk=host.pk).update(token="a worker's")
        assert form.is_valid(), form.errors
        with pytest.raises(ChangedMeanwhile):
            form.save()
        late = HostForm(sent, instance=Host.objects.get(pk=host.pk))
        assert "Somebody changed this host meanwhile" in str(late.errors)
        again = HostForm(sent | {"shown": late.shown}, instance=Host.objects.get(pk=host.pk))
        assert again.is_valid(), again.errors
        again.save()
        host.refresh_from_db()
        assert (host.memo, host.token) == ("changed", "a worker's")
        assert host.target().credential.password == "secret"

    def test_keys_of_the_environment_are_changed_by_people(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new = master_key(), master_key()
        monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", old)
        pair = Pair.objects.adopt(b"key", None, found_on="host")
        with pytest.raises(rotation.RotationError, match="new key before"):
            rotation.rotate()
        monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", f"{new},{old}")
        assert rotation.rotate() == 2, "and the key of the audit's seal"
        monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", new)
        pair.refresh_from_db()
        assert pair.private_key() == b"key"

    def test_what_a_killed_process_left_of_the_keys_goes(self) -> None:
        path = home.directory() / vault.KEY_FILE
        path.with_name(".master.key.1234abcd").write_text("half a key")
        rotation.rotate()
        assert [file.name for file in path.parent.glob("*master.key*")] == ["master.key"]


def test_every_model_that_seals_is_known() -> None:
    """A rotation, and a start without the key, find secrets by the names of their columns."""
    found = {f"{model._meta.db_table}.{field}" for model, field in rotation.sealed_fields()}
    tables = connection.introspection.django_table_names(only_existing=False)
    assert {name.partition(".")[0] for name in found} <= set(tables)
    assert found == {
        "certs_pair.certificate_sealed",
        "certs_pair.key_sealed",
        "hosts_host.password_sealed",
        "hosts_host.private_key_sealed",
        "hosts_host.passphrase_sealed",
        "hosts_readerpage.token_sealed",
        "xmailadmin_audithead.key_sealed",
        "xmailadmin_authenticatorsecret.secret_sealed",
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Portal:
    filled = Portal(tmp_path_factory.mktemp("filled") / "portal")
    run(filled, "fill", "20")
    return filled


class TestLostOrWrongMasterKey:
    @pytest.fixture
    def portal(self, filled: Portal, new_portal: Portal) -> Portal:
        shutil.copytree(filled.home, new_portal.home)
        return new_portal

    def refusal(self, portal: Portal, *command: str) -> str:
        done = portal.manage(*command, check=False)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, "one line, no traceback"
        return done.stderr

    @pytest.mark.parametrize("command", ["up", "rotate_master_key", "verify_audit"])
    def test_a_lost_one(self, portal: Portal, command: str) -> None:
        (portal.home / "master.key").unlink()
        assert "put it back" in self.refusal(portal, command)
        assert not (portal.home / "master.key").exists()

    def test_another_one_names_the_one_that_is_needed(self, portal: Portal) -> None:
        (needed,) = vault.ids_of((portal.home / "master.key").read_text())
        (portal.home / "master.key").write_text(master_key() + "\n")
        told = self.refusal(portal, "up")
        assert needed in told
        assert "backup" in told

    def test_one_that_only_some_secrets_need(self, portal: Portal) -> None:
        """Half a rotation, and then the old key is gone."""
        (old,) = vault.ids_of((portal.home / "master.key").read_text())
        text = (portal.home / "master.key").read_text().strip()
        new = master_key()
        (portal.home / "master.key").write_text(f"{new},{text}\n")
        subprocess.run(
            [sys.executable, "manage.py", "shell", "-c", ONE_WITH_THE_NEW_KEY],
            cwd=CHECKOUT, env=portal.environment, check=True, capture_output=True,
        )  # fmt: skip
        (portal.home / "master.key").write_text(f"{new}\n")
        assert old in self.refusal(portal, "up")

    @pytest.mark.parametrize("text", ["", "nonsense", "\x00\xff"])
    def test_no_key_at_all(self, portal: Portal, text: str) -> None:
        (portal.home / "master.key").write_text(text, encoding="utf-8")
        assert "master" in self.refusal(portal, "up").lower()

    @pytest.mark.parametrize("text", ["", "\n", " , \n"])
    def test_an_empty_one_is_told_by_its_file(self, portal: Portal, text: str) -> None:
        (portal.home / "master.key").write_text(text)
        told = self.refusal(portal, "prepare")
        assert f"{portal.home / 'master.key'} is empty" in told
        assert "XMAILADMIN_MASTER_KEYS" not in told

    def test_one_damaged_secret_stops_nothing_and_is_named(self, portal: Portal) -> None:
        spoil = "from hosts.models import Host; Host.objects.filter(pk=2).update({})".format(
            "password_sealed='v1.zz.x'"
        )
        portal.manage("shell", "-c", spoil)
        told = portal.manage("verify_audit")
        assert "hosts_host 2 (password_sealed)" in told.stderr
        assert told.stderr.count("\n") == 1
        refused = portal.manage("rotate_master_key", check=False)
        last = refused.stderr.splitlines()[-1]
        assert last.startswith("CommandError: hosts_host 2 (password_sealed): ")
        assert "Enter it anew" in last

    def test_a_secret_of_a_foreign_key_is_named(self, portal: Portal) -> None:
        spoil = "from hosts.models import Host; Host.objects.filter(pk=2).update({})".format(
            "password_sealed='v1.0123456789abcdef.x'"
        )
        portal.manage("shell", "-c", spoil)
        told = self.refusal(portal, "verify_audit")
        assert "0123456789abcdef" in told
        assert told.endswith("Such secrets are: hosts_host 2 (password_sealed).\n")

    def test_an_environment_with_nonsense(self, portal: Portal) -> None:
        portal.extra_environment = {"XMAILADMIN_MASTER_KEYS": "nonsense"}
        assert "32 bytes" in self.refusal(portal, "up")
        fresh = Portal(portal.home.with_name("fresh"), portal.extra_environment)
        assert "32 bytes" in self.refusal(fresh, "up")

    def test_one_that_cannot_be_read(self, portal: Portal) -> None:
        (portal.home / "master.key").unlink()
        (portal.home / "master.key").mkdir(mode=0o700)
        assert "cannot be read" in self.refusal(portal, "up")


ONE_WITH_THE_NEW_KEY = (
    "from certs.models import Pair; "
    "first, last = Pair.objects.order_by('pk').first(), Pair.objects.order_by('pk').last(); "
    "[(row.keep(row.private_key(), None), row.save()) for row in (first, last)]"
)
