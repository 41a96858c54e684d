"""The audit: a chain that shows every change, and the pages that show it."""

from __future__ import annotations

import ast
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from tests import people
from tests.tally import Tally
from xmailadmin import audit, audit_guard, audit_note, home
from xmailadmin.audit_words import ACTIONS, DETAILS, HIDDEN, detail_of
from xmailadmin.models import AuditEntry, AuditHead

pytestmark = pytest.mark.django_db
ROWS = 100
TABLE = AuditEntry._meta.db_table


@pytest.fixture(autouse=True)
def _no_older_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end that other tests noted in the data directory is not this test's."""
    monkeypatch.setattr(home, "directory", lambda: tmp_path)
    (tmp_path / audit_note.NOTE_FILE).write_text("0 -\n")  # as before the first entry


def write(count: int = ROWS) -> None:
    for number in range(count):
        audit.record(None, "host.edit", None, fields=[f"field{number}"])


def problems() -> list[tuple[int, str]]:
    return [(problem.number, problem.code) for problem in audit.verify()]


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def undone() -> Any:
    """A savepoint for each act of tampering."""

    class Undone:
        def __enter__(self) -> None:
            self.before = transaction.savepoint()

        def __exit__(self, *_: object) -> None:
            transaction.savepoint_rollback(self.before)

    return Undone()


def test_a_chain_that_nobody_touched_is_whole() -> None:
    assert problems() == []
    write(20)
    assert problems() == []
    numbers = AuditEntry.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, 21))


def test_what_no_database_keeps_is_put_on_record_all_the_same() -> None:
    """PostgreSQL takes no NUL, and halves of characters are no UTF-8."""
    entry = audit.record(None, "host.edit", fields=["a\0b", "\ud800"], before={"user": "\0"})
    assert entry.detail == {"fields": ["a\ufffdb", "\ufffd"], "before": {"user": "\ufffd"}}
    assert AuditEntry.objects.get(pk=entry.pk).detail == entry.detail
    assert problems() == []


def test_a_changed_row_is_found_100_of_100(undone: Any, tally: Tally) -> None:
    write()
    changes = {
        "action": "host.add",
        "actor_name": "taro",
        "address": "192.0.2.1",
        "object_name": "mail9",
        "object_id": "9",
        "detail": '{"fields": []}',
        "at": timezone.now().replace(microsecond=0),
    }
    found = 0
    for number in range(1, ROWS + 1):
        column, value = list(changes.items())[number % len(changes)]
        with undone:
            sql(f"UPDATE {TABLE} SET {column} = %s WHERE number = %s", value, number)  # noqa: S608
            found += problems() == [(number, "changed")]
        tally.add("tampering", refused=True)
    assert found == ROWS


def test_a_deleted_row_is_found_100_of_100(undone: Any, tally: Tally) -> None:
    write()
    found = 0
    for number in range(1, ROWS + 1):
        with undone:
            sql(f"DELETE FROM {TABLE} WHERE number = %s", number)  # noqa: S608
            what = "missing" if number < ROWS else "cut"
            found += (number, what) in problems()
        tally.add("tampering", refused=True)
    assert found == ROWS


def test_two_rows_that_changed_places_are_found_100_of_100(undone: Any, tally: Tally) -> None:
    write(ROWS + 1)
    found = 0
    for number in range(1, ROWS + 1):
        with undone:
            for before, after in (
                (number, 0),
                (number + 1, number),
                (0, number + 1),
            ):
                sql(f"UPDATE {TABLE} SET number = %s WHERE number = %s", after, before)  # noqa: S608
            found += {(number, "changed"), (number + 1, "changed")} <= set(problems())
        tally.add("tampering", refused=True)
    assert found == ROWS


def test_a_row_with_a_new_hash_does_not_fit_the_next_100_of_100(undone: Any) -> None:
    write()
    found = 0
    for number in range(1, ROWS + 1):
        with undone:
            forge(number, actor_name="taro")
            what = (number + 1, "unlinked") if number < ROWS else (number + 1, "cut")
            found += problems() == [what]
    assert found == ROWS


def forge(number: int, **changes: Any) -> AuditEntry:
    """Changes a row as somebody would who knows how the hash is made."""
    entry = AuditEntry.objects.get(number=number)
    for name, value in changes.items():
        setattr(entry, name, value)
    entry.sha256 = audit._hash(entry)
    entry.save_base(raw=True)
    return entry


def test_a_whole_new_chain_is_found_by_what_the_data_directory_remembers(
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        write(10)
    assert problems() == []
    previous = ""
    for number in range(1, 11):
        previous = forge(number, actor_name="taro", previous=previous).sha256
    AuditHead.objects.update(sha256=previous)
    assert problems() == [(10, "rewritten"), (10, "unsealed")]
    sql(f"DELETE FROM {TABLE} WHERE number > 8")  # noqa: S608
    eighth = AuditEntry.objects.get(number=8)
    AuditHead.objects.update(number=8, sha256=eighth.sha256)
    assert problems() == [(9, "cut"), (8, "unsealed")]


def test_a_tail_that_was_cut_off_stays_missed_whatever_follows(
    django_capture_on_commit_callbacks: Any,
) -> None:
    def wrote(count: int) -> list[tuple[int, str]]:
        for _ in range(count):
            with django_capture_on_commit_callbacks(execute=True):
                write(1)
        return problems()

    assert wrote(8) == []
    older = AuditHead.objects.values().get()  # with its seal, which fits
    assert wrote(4) == []
    sql(f"DELETE FROM {TABLE} WHERE number > 8")  # noqa: S608
    AuditHead.objects.update(**older)
    assert wrote(1) == [(10, "cut")]
    assert wrote(2) == [(12, "cut")]
    assert wrote(1) == [(12, "rewritten")]
    assert wrote(5) == [(12, "rewritten")]
    assert verified("--remember")[1] == 0
    assert wrote(1) == []


def test_a_missing_note_is_told_until_somebody_sets_it(
    tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        write(2)
    for left in ("", "what?"):
        (tmp_path / audit_note.NOTE_FILE).write_text(left)
        with django_capture_on_commit_callbacks(execute=True):
            write(1)
        assert [code for _, code in problems()] == ["unnoted"]
        text, status = verified()
        assert "verify_audit --remember" in text
        assert status == 1
    with django_capture_on_commit_callbacks(execute=True):
        text, status = verified("--remember")
    assert (text.splitlines()[-1], status) == (
        "The data directory remembers entry 5 as the end from now on.", 0,
    )  # fmt: skip
    assert verified() == ("The audit is complete and unchanged: 5 entries.\n", 0)
    assert AuditEntry.objects.get(number=5).action == "audit.remember"


def test_a_pipe_in_place_of_the_note_keeps_nobody_waiting(tmp_path: Path) -> None:
    write(1)
    (tmp_path / audit_note.NOTE_FILE).unlink()
    os.mkfifo(tmp_path / audit_note.NOTE_FILE)
    text, status = verified()
    assert ("does not remember" in text, status) == (True, 1)


def test_a_note_never_goes_back(tmp_path: Path, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        write(3)
    first = AuditEntry.objects.get(number=1)
    late = audit_note.End(1, first.sha256)
    audit_note.advance(late, whole=True, sealed=True)  # a commit told late
    assert audit_note.noted() == audit_note.head()


def test_the_first_entry_of_all_is_noted(
    tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    (tmp_path / audit_note.NOTE_FILE).unlink()
    with django_capture_on_commit_callbacks(execute=True):
        write(1)
    assert problems() == []


def test_a_frozen_process_keeps_nobody_from_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr(audit_note, "PATIENCE_S", 0.05)
    with audit_note._in_hand(), django_capture_on_commit_callbacks(execute=True):
        write(1)
    assert AuditEntry.objects.count() == 1


def test_a_row_that_was_slipped_in_at_the_end_is_found() -> None:
    write(3)
    entry = AuditEntry(number=4, previous="0" * 64, at=timezone.now(), actor_name="x", action="y")
    entry.sha256 = audit._hash(entry)
    entry.save()
    assert problems() == [(4, "added")]


def test_rows_are_not_changed_through_models() -> None:
    write(1)
    entry = AuditEntry.objects.get()
    for attempt in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(action="x"),
    ):
        with pytest.raises(TypeError, match="never"):
            attempt()


def test_the_database_itself_refuses(settings: Any, undone: Any) -> None:
    settings.AUDIT_GUARD = True
    with undone:
        audit_guard.guard()
        write(1)
        for statement in (f"UPDATE {TABLE} SET action = 'x'", f"DELETE FROM {TABLE}"):  # noqa: S608
            with pytest.raises(DatabaseError, match="only ever added"), transaction.atomic():
                sql(statement)
        write(1)
        assert problems() == []


def test_a_row_that_was_dumped_and_loaded_still_fits() -> None:
    """A backup keeps times to the millisecond."""
    for _ in range(20):
        write(1)
    text = serializers.serialize("jsonl", AuditEntry.objects.all())
    loaded = [row.object for row in serializers.deserialize("jsonl", text)]
    assert len(loaded) == 20
    assert all(isinstance(entry, AuditEntry) and audit.fits(entry) for entry in loaded)


def test_an_entry_knows_who_and_from_where(rf: RequestFactory) -> None:
    user = people.person("operator")
    for raw, address in (
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("", None),
        ("unix", None),
    ):
        request = rf.get("/", REMOTE_ADDR=raw)
        request.user = user
        entry = audit.record(request, "host.edit", user, fields=["名前"])
        entry.refresh_from_db()
        assert (entry.actor, entry.actor_name, entry.address) == (user, "hanako", address)
    assert problems() == []


def test_deleting_an_account_changes_no_row() -> None:
    user = people.person("operator")
    audit.record(user, "signin", user)
    user.delete()
    assert AuditEntry.objects.get().actor_name == "hanako"
    assert problems() == []


# --- The command ------------------------------------------------------------------------------


def verified(*options: str) -> tuple[str, int]:
    out = io.StringIO()
    try:
        call_command("verify_audit", *options, stdout=out, stderr=io.StringIO())
    except SystemExit as ended:
        return out.getvalue(), int(str(ended.code))
    return out.getvalue(), 0


def test_the_command_says_that_all_is_well_or_what_is_not() -> None:
    write(3)
    assert verified() == ("The audit is complete and unchanged: 3 entries.\n", 0)
    forge(2, action="x")
    text, status = verified()
    assert (text, status) == ("Entry 3 does not follow from the one before it.\n", 1)
    told = json.loads(verified("--json")[0])
    assert told == {"entries": 3, "problems": [{"number": 3, "code": "unlinked"}]}


# --- The pages --------------------------------------------------------------------------------


@pytest.fixture
def administrator() -> Any:
    return people.signed_in(people.person("administrator", username="admin"))


def test_the_page_is_searched_and_filtered(administrator: Any) -> None:
    operator = people.person("operator")
    audit.record(operator, "host.add", operator)
    audit.record(None, "pair.issued")
    page = administrator.get(reverse("audit_list"))
    assert [row.record.action for row in page.context["table"].rows] == ["pair.issued", "host.add"]
    for query, expected in (
        ({"q": "hanako"}, ["host.add"]),
        ({"q": "Pair made"}, ["pair.issued"]),
        ({"q": "pair.iss"}, ["pair.issued"]),
        ({"kind": "host"}, ["host.add"]),
        ({"person": "system"}, ["pair.issued"]),
        ({"type": "user", "id": str(operator.pk)}, ["host.add"]),
        ({"since": "2001-01-01", "until": "2001-01-02"}, []),
    ):
        found = administrator.get(reverse("audit_list"), query).context["table"].rows
        assert [row.record.action for row in found] == expected, query


def test_the_page_shows_tampering(administrator: Any) -> None:
    write(3)
    sql(f"UPDATE {TABLE} SET action = 'host.add' WHERE number = 2")  # noqa: S608
    assert b"Not as it was written" in administrator.get(reverse("audit_list")).content
    told = administrator.post(reverse("audit_verify"), follow=True).content.decode()
    assert "Entry 2 was changed." in told


def test_the_page_says_that_all_is_well() -> None:
    write(3)
    administrator = people.signed_in(people.person("administrator", username="admin"))
    told = administrator.post(reverse("audit_verify"), follow=True).content.decode()
    assert "The audit is complete and unchanged: 3 entries." in told


def test_the_export_is_json_lines_that_can_be_verified_elsewhere(administrator: Any) -> None:
    write(5)
    response = administrator.get(reverse("audit_export"))
    assert response.headers["Content-Type"].startswith("application/jsonl")
    assert "attachment" in response.headers["Content-Disposition"]
    rows = [json.loads(line) for line in response.content.decode().splitlines()]
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["previous"] for row in rows] == ["", *[row["sha256"] for row in rows[:-1]]]
    assert AuditEntry.objects.get(action="audit.export").detail == {"entries": 5}
    some = administrator.get(reverse("audit_export"), {"kind": "audit"}).content.decode()
    assert [json.loads(line)["action"] for line in some.splitlines()] == ["audit.export"]


def test_an_objects_page_tells_who_did_what(administrator: Any) -> None:
    other = people.person("viewer", username="taro")
    audit.record(people.person("administrator"), "person.roles", other)
    page = administrator.get(other.get_absolute_url()).content.decode()
    assert "Who did what" in page
    assert "Roles changed" in page
    assert "hanako" in page


# --- Words ------------------------------------------------------------------------------------

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def our_code() -> list[str]:
    return [
        path.read_text(encoding="utf-8")
        for app in ("certs", "hosts", "xmailadmin")
        for path in (CHECKOUT / app).rglob("*.py")
        if "migrations" not in path.parts
    ]


def test_every_action_has_words() -> None:
    """Those that stand in the code as they are; a name that is put together shows as it is."""
    code = "".join(our_code())
    calls = r"(?:record(?:_once|_few|_all)?)\(\s*[\w.]+,\s*(?:\w+, )?(\"[^)]*?)[,)]"
    said = {name for call in re.findall(calls, code) for name in re.findall(r'"(\w+\.\w+)"', call)}
    assert {"host.add", "host.enable", "signin.blocked", "access.denied"} <= said
    assert said - ACTIONS.keys() == set(), "say these in xmailadmin/audit_words.py"


def test_details_are_worded() -> None:
    assert detail_of({"roles": ["operator"], "by": ["mfa"], "account": "x", "path": "/mfa"}) == [
        ("roles", "Operator"),
        ("by", "second factor"),
        ("address", "/mfa"),
    ]


def test_what_is_empty_or_ticked_is_worded_too() -> None:
    before = {"user": "", "port": None, "allow_plain_key": False, "address": "None"}
    detail = {"fields": [*before], "before": before, "now": {"allow_plain_key": True}}
    plain = "allow the private key over an unencrypted connection"
    shown = dict(detail_of(detail, "host"))
    assert shown["before"] == f"user None, port None, {plain} No, address “None”"
    assert shown["now"] == f"{plain} Yes"
    with override("ja"):
        assert "なし" in dict(detail_of(detail, "host"))["変更前"]


def recorded_keys(code: str) -> set[str]:
    """The names of the details in every call of audit.record(), those in a **dict included."""
    tree = ast.parse(code)
    dicts = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    keys: set[str] = set()
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "audit.record":
            for keyword in call.keywords:
                if keyword.arg is not None:
                    keys.add(keyword.arg)
                else:
                    keys |= keys_of(dicts[ast.unparse(keyword.value)])
        elif isinstance(call, ast.Call) and ast.unparse(call.func) == "audit.record_all":
            told = [node for node in ast.walk(call) if isinstance(node, ast.Dict)]
            assert told, "a detail that this test cannot read"
            keys |= set().union(*map(keys_of, told))
    return keys


def keys_of(told: ast.Dict) -> set[str]:
    return {ast.literal_eval(key) for key in told.keys if key is not None}


def test_every_detail_has_a_word() -> None:
    keys = set().union(*map(recorded_keys, our_code()))
    assert {"fields", "count", "trusted", "device"} <= keys
    assert keys - DETAILS.keys() - set(HIDDEN) == set(), "say these in xmailadmin/audit_words.py"


def test_fields_that_were_changed_are_named_as_in_the_form() -> None:
    told = detail_of({"fields": ["smtp_port", "memo", "private_key"]}, "host")
    assert told == [("fields", "SMTP (STARTTLS), memo, Private SSH key")]
