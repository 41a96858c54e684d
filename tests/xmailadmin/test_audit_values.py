"""Entries of the audit that hold what nobody can read: they are named, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.urls import reverse

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
from xmailadmin import audit, rotation, vault
from xmailadmin.prepare import check_master_keys

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_unchecked")]


@pytest.fixture
def _unchecked() -> Iterator[None]:
    """The database takes whatever is written into it."""
    if connection.vendor != "sqlite":
        pytest.skip("the database takes no such value")
    sql("PRAGMA ignore_check_constraints = ON")
    yield
    sql("PRAGMA ignore_check_constraints = OFF")


@pytest.mark.parametrize(
    ("column", "value"),
    [("at", "garbage"), ("at", "2026-13-45 00:00:00"), ("detail", "{"), ("detail", '"\\ud800"')],
)
def test_a_value_that_nobody_can_read_is_found(column: str, value: str) -> None:
    write(4)
    sql(f"UPDATE {TABLE} SET {column} = %s WHERE number = 2", value)  # noqa: S608
    assert problems() == [(2, "changed")]


@pytest.mark.parametrize("value", ["'{'", "'[1]'", """'{"hosts": [[1]]}'"""])
def test_pages_show_an_entry_with_an_odd_detail(value: str) -> None:
    administrator = people.signed_in(people.person("administrator"))
    write(2)
    sql(f"UPDATE {TABLE} SET detail = {value} WHERE number = 1")  # noqa: S608
    page = administrator.get(reverse("audit_list")).content.decode()
    assert page.count("Not as it was written") == 1 or "Entry 1 was changed." in page
    assert administrator.get(reverse("audit_export")).status_code == 200


@pytest.mark.parametrize("value", ["""'{"hosts": ["\\ud800"]}'""", "CAST(x'ff41' AS TEXT)"])
def test_pages_say_that_an_entry_cannot_be_read(value: str) -> None:
    administrator = people.signed_in(people.person("administrator"))
    write(1)
    sql(f"UPDATE {TABLE} SET detail = {value} WHERE number = 1")  # noqa: S608
    for method, name in (("get", "audit_list"), ("post", "audit_verify"), ("get", "audit_export")):
        page = getattr(administrator, method)(reverse(name), follow=True)
        assert page.status_code == 200
        assert "Entry 1 was changed." in page.content.decode()
    assert "Nothing was exported" in page.content.decode()


def test_an_objects_page_says_that_its_entries_cannot_be_read() -> None:
    person = people.person("administrator")
    audit.record(None, "person.roles", person)
    sql(f"UPDATE {TABLE} SET detail = CAST(x'ff41' AS TEXT)")  # noqa: S608
    page = people.signed_in(person).get(person.get_absolute_url())
    assert "What was done cannot be read" in page.content.decode()


@pytest.mark.parametrize("chunk", [1, 2, 2000])
@pytest.mark.parametrize(
    ("column", "found"),
    [
        ("action", {(2, "changed")}),
        ("object_name", {(2, "changed")}),
        ("detail", {(2, "changed")}),
        ("sha256", {(2, "changed"), (2, "unlinked"), (3, "unlinked")}),
        ("number", {(2, "missing"), (5, "added")}),
    ],
)
def test_what_is_no_text_is_found(
    monkeypatch: pytest.MonkeyPatch,
    column: str,
    found: set[tuple[int, str]],
    chunk: int,
) -> None:
    monkeypatch.setattr(audit, "CHUNK", chunk)
    write(4)
    sql(f"UPDATE {TABLE} SET {column} = CAST(x'ff41' AS TEXT) WHERE number = 2")  # noqa: S608
    assert set(problems()) == found


def test_a_number_that_is_none_is_found() -> None:
    write(4)
    sql(f"UPDATE {TABLE} SET number = '2x' WHERE number = 2")  # noqa: S608
    assert {code for _number, code in problems()} >= {"missing", "added"}
    assert "2" in verified()[0]


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("number", "'abc'", {(4, "odd")}),
        ("number", "1.5", {(4, "odd")}),
        ("number", "-1", {(4, "odd")}),
        ("number", "CAST(x'ff41' AS TEXT)", {(4, "odd"), (4, "unsealed")}),
        ("sha256", "x'6162'", {(4, "odd")}),
        ("seal", "x'6162'", {(4, "odd"), (4, "unsealed")}),
        ("key_sealed", "x'6162'", {(4, "odd"), (4, "unsealed")}),
        ("seal", f"'{'9' * 5000}.x.y'", {(4, "unsealed")}),
        ("key_sealed", "'v1.deadbeefdeadbeef.AAAA'", {(4, "unsealed")}),
    ],
)
def test_odd_values_in_the_row_of_the_end_are_told_and_mended(
    column: str, value: str, found: set[tuple[int, str]]
) -> None:
    write(4)
    sql(f"UPDATE xmailadmin_audithead SET {column} = {value}")  # noqa: S608
    check_master_keys()  # as each command does
    assert set(problems()) == found
    text, status = verified()
    assert status == 1
    assert ("table xmailadmin_audithead" in text) == ((4, "odd") in found)
    text, status = verified("--remember")
    assert status == 0
    assert ("gets a new seal, with a new key" in text) == ((4, "unsealed") in found)
    assert problems() == []
    write(2)
    assert problems() == []


def test_a_seal_whose_key_nobody_can_open_stops_no_rotation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(3)
    sql("UPDATE xmailadmin_audithead SET key_sealed = 'v1.deadbeefdeadbeef.AAAA'")
    monkeypatch.setattr(rotation, "GRACE_S", 0)
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", f"{master_key()},{vault.export_master_keys()}")
    rotation.rotate()
    assert problems() == [(4, "unsealed")]
