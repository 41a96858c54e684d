"""The seal on the end of the audit: whoever can write to the database alone cannot make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import people
from tests.test_vault import master_key
from tests.xmailadmin.test_audit import (
    TABLE,
    _no_older_end,  # noqa: F401 - for every test here, too
    problems,
    sql,
    verified,
    write,
)
from xmailadmin import audit, audit_seal, rotation, vault
from xmailadmin.audit_note import NOTE_FILE
from xmailadmin.models import AuditEntry, AuditHead

pytestmark = pytest.mark.django_db


def append(**changes: Any) -> AuditEntry:
    """Adds an entry as somebody would who can write to the database and knows how hashes are made.

    No trigger is in the way of that, nor is a new end of the chain.
    """
    end = AuditHead.objects.get()
    entry = AuditEntry(number=end.number + 1, previous=end.sha256, at=audit._now(), **changes)
    entry.sha256 = audit._hash(entry)
    entry.save()
    AuditHead.objects.update(number=entry.number, sha256=entry.sha256)
    return entry


def test_an_entry_that_was_forged_at_the_end_is_found_whatever_follows(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        write(3)
    append(actor_name="hanako", action="pair.key")
    assert problems() == [(4, "unsealed")]
    with django_capture_on_commit_callbacks(execute=True):
        write(2)
    assert problems() == [(4, "unsealed")], "the portal vouches for nothing that it did not write"
    text, status = verified()
    assert "entries from number 4 on were added by somebody else" in text
    assert status == 1
    monkeypatch.setattr(rotation, "GRACE_S", 0)
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", f"{master_key()},{vault.export_master_keys()}")
    rotation.rotate()
    assert problems() == [(4, "unsealed")], "neither does a rotation"
    assert verified("--remember")[1] == 0
    assert problems() == []
    write(2)
    assert problems() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"seal": ""},
        {"key_sealed": ""},
        {"seal": "", "key_sealed": ""},
        {"key_sealed": "v1.zz.x"},
        {"seal": "5.x.x"},
        {"seal": "\u0663.x.x"},
        {"seal": f"3.{'0' * 64}.{'0' * 64}"},
    ],
)
def test_an_end_without_its_seal_never_gets_one_by_itself(changes: dict[str, str]) -> None:
    write(3)
    AuditHead.objects.update(**changes)
    append(actor_name="hanako", action="pair.key")
    write(1)
    assert problems() == [(5, "unsealed")]


def test_what_was_written_while_the_master_key_was_missing_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(3)
    audit_seal._opened.cache_clear()  # another process
    with monkeypatch.context() as patch:
        patch.setenv("XMAILADMIN_MASTER_KEYS", master_key())
        write(1)
        assert problems() == [(4, "unsealed")]
    assert problems() == [(4, "unsealed")]


def test_entries_cost_no_opening_of_the_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    write(2)
    monkeypatch.setattr(vault, "open_sealed", None)
    write(20)
    assert problems() == []


def test_an_audit_that_was_emptied_begins_without_a_seal(tmp_path: Path) -> None:
    """By whoever can write to the database, seen from a machine that has no note."""
    user = people.person("operator")
    write(3)
    people.signed_in(user)
    write(1)
    assert problems() == []
    (tmp_path / NOTE_FILE).unlink()
    sql(f"DELETE FROM {TABLE}")  # noqa: S608
    AuditHead.objects.update(number=0, sha256="", seal="", key_sealed="")
    write(1)
    assert (1, "unsealed") in problems()
    write(1)
    assert (2, "unsealed") in problems()
    assert verified("--remember")[1] == 0
    assert problems() == []
