"""Hosts from a CSV file: read, checked row by row, and registered all together or not at all.

Nothing is connected to. The file holds no secret: those are typed in once for all of its hosts, or
on the page of each host later. A host without a fingerprint is sent nothing before a person has
looked at its identity.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from hosts.host_form import NAME_TAKEN, PORTS, HostForm, Taken
from hosts.host_names import sameness
from hosts.models import Host
from hosts.models.host import SECRETS, WHEREABOUTS, one_at_a_time
from hosts.wording import word
from xmailadmin import audit

if TYPE_CHECKING:
    from xmailadmin.models import User

__all__ = ["COLUMNS", "MAX_BYTES", "MAX_ROWS", "Sheet", "Unreadable", "check", "decode", "save"]

MAX_BYTES = 600_000  # in Shift_JIS; as UTF-8 it still fits into a request of 1 MB
MAX_ROWS = 2000
COLUMNS = (
    "name", "transport", "os", "address", "port", "user", "mailroot", "trust_fingerprint", "jump",
    "allow_plain_key", *PORTS, "memo",
)  # fmt: skip
ENCODINGS = ("utf-8-sig", "cp932")  # cp932: Shift_JIS as Excel writes it
DELIMITERS = ",;\t"
YES = frozenset({"1", "yes", "true", "on", "x", "はい"})
NO = frozenset({"", "0", "no", "false", "off", "いいえ"})


class Unreadable(Exception):
    """The file as a whole cannot be read; the text says why, in the reader's language."""


@dataclass
class Row:
    """One line of the file: its host, or what is wrong with it."""

    line: int
    values: Mapping[str, str]
    host: Host | None = None
    problems: list[str] = field(default_factory=list)
    note: str = ""


@dataclass
class Sheet:
    """A file that was read; it can be imported when no row has a problem."""

    text: str
    rows: list[Row]

    @property
    def bad(self) -> list[Row]:
        return [row for row in self.rows if row.problems]

    @property
    def good(self) -> bool:
        return bool(self.rows) and not self.bad

    @property
    def remote(self) -> bool:
        """Whether there is a host for which secrets are needed."""
        return any(row.values.get("transport") != Host.Transport.LOCAL for row in self.rows)


def template() -> bytes:
    """Returns a file to fill in: the columns, and one example of each transport to be replaced."""
    example = {"os": "unix", "mailroot": "/var/MailRoot", "smtp_port": "25", "smtps_port": "465"}
    example |= {"pop3_port": "110", "pop3s_port": "995", "ctrls_port": "6018"}
    rows = [
        example | {"name": "#mail1", "transport": "local", "address": "127.0.0.1"},
        example
        | {"name": "#mail2", "transport": "sftp", "address": "mail2.example.jp", "user": "xmail"},
        example
        | {
            "name": "#mail3", "transport": "ctrl", "address": "192.0.2.3", "user": "admin",
            "os": "windows", "mailroot": "C:\\MailRoot",
        },
    ]  # fmt: skip
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode("utf-8-sig")  # the mark lets Excel read it as UTF-8


def decode(data: bytes) -> str:
    """Returns the text of a file in UTF-8 (with or without a mark) or Shift_JIS."""
    if len(data) > MAX_BYTES:
        raise Unreadable(_("The file is larger than 600 kB. Divide it into several."))
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable(_("The file is neither UTF-8 nor Shift_JIS text. Save it as CSV (UTF-8)."))


def check(text: str) -> Sheet:
    """Returns the rows of the file with their problems. Raises Unreadable."""
    inventory = _Inventory()
    rows = []
    for line, values in _lines(text.removeprefix("\ufeff")):
        rows.append(inventory.check(line, values))
        if len(rows) > MAX_ROWS:
            message = _("There are more than %(count)s hosts in the file. Divide it into several.")
            raise Unreadable(message % {"count": MAX_ROWS})
    if not rows:
        raise Unreadable(_("There is no host in the file."))
    return Sheet(text, rows)


def save(sheet: Sheet, secrets: Mapping[str, str], *, by: HttpRequest | User | None) -> list[Host]:
    """Registers every host of a good sheet, those that are remote with the secrets given.

    Raises Taken if another host has the name or the MailRoot of one of them since it was checked.
    """
    hosts = [row.host for row in sheet.rows if row.host is not None]
    with one_at_a_time():
        inventory = _Inventory()
        if any(map(inventory.holds, hosts)):
            raise Taken
        _save(hosts, secrets, by)
    return hosts


def _save(hosts: list[Host], secrets: Mapping[str, str], by: HttpRequest | User | None) -> None:
    user = by.user if isinstance(by, HttpRequest) else by
    for host in hosts:
        host.created_by = user if user is not None and user.is_authenticated else None
    Host.objects.bulk_create(hosts)
    given = {name: secret for name, secret in secrets.items() if name in SECRETS and secret}
    for host in hosts:
        if given and host.transport != Host.Transport.LOCAL:
            host.keep_secrets(**given)
    # Each on its own page, and below all of them as what was asked for.
    audit.record_all(by, "host.add", [
        (host, {"mailroot": host.mailroot, "trusted": host.trust_fingerprint}) for host in hosts
    ])  # fmt: skip
    names = [host.name for host in hosts]
    audit.record(by, "host.import", None, count=len(hosts), hosts=names, secrets=sorted(given))


def _lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each line that holds a host, with its number; a name that begins with # is none."""
    head = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _columns(next(reader, []))
        for cells in reader:
            words = [cell.strip() for cell in cells]
            values = dict(zip(columns, words, strict=False))
            if not any(words) or values.get("name", "").startswith("#"):
                continue
            if any(words[len(columns) :]):
                values[""] = _("There are more fields than columns.")
            yield reader.line_num, values
    except csv.Error as error:
        message = _("Line %(line)s cannot be read as CSV (%(reason)s).")
        raise Unreadable(message % {"line": reader.line_num, "reason": error}) from None


def _columns(cells: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    if secret := [name for name in columns if name in SECRETS]:
        message = _(
            "Take the column %(column)s out of the file: passwords and keys do not belong there."
        )
        raise Unreadable(message % {"column": secret[0]})
    if unknown := [name for name in columns if name not in COLUMNS]:
        message = _("There is no column named “%(column)s”. The first line must name the columns.")
        raise Unreadable(message % {"column": unknown[0]})
    if len(set(columns)) != len(columns):
        raise Unreadable(_("A column occurs twice."))
    for name in ("name", "transport"):
        if name not in columns:
            raise Unreadable(_("The column “%(column)s” is missing.") % {"column": name})
    return columns


class _Inventory:
    """What is registered already or stands in an earlier row."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[str, int]] = {}
        self.places: dict[tuple[object, ...], str] = {}
        for host in Host.objects.only("name", *WHEREABOUTS):
            self.names[sameness(host.name)] = (host.name, 0)
            self.places[host.whereabouts] = host.name

    def holds(self, host: Host) -> bool:
        return sameness(host.name) in self.names or host.whereabouts in self.places

    def check(self, line: int, values: dict[str, str]) -> Row:
        row = Row(line, values)
        if surplus := values.get(""):
            row.problems.append(surplus)
            return row
        form = _RowForm(_as_sent(values), inventory=self)
        if form.is_valid():
            row.host = form.instance
            row.note = "\n".join(map(word, form.remarks))
        else:
            row.problems = [
                f"{form[name].label}: {error}" if name in form.fields else str(error)
                for name, errors in form.errors.items()
                for error in errors
            ]
        host = form.instance
        if host.name:
            self.names.setdefault(sameness(host.name), (host.name, line))
            if not form.errors.keys() & {*WHEREABOUTS}:  # what is refused is not in the host
                self.places.setdefault(host.whereabouts, host.name)
        return row


class _RowForm(HostForm):
    """A host as the form knows it, without a look at it and without a query for each row."""

    looks = False

    def __init__(self, *args: Any, inventory: _Inventory, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inventory = inventory

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        if self.data.get("allow_plain_key") is None:
            self.add_error("allow_plain_key", _("Write yes or no."))
        return data

    def validate_unique(self) -> None:
        name = self.instance.name  # empty if it was refused
        other, line = self.inventory.names.get(sameness(name), ("", 0))
        if name and name == other:
            self.add_error("name", _twice(line))

    def namesake(self, name: str) -> str | None:
        other, _line = self.inventory.names.get(sameness(name), (name, 0))
        return other if other != name else None

    def twin(self, host: Host) -> str | None:
        return self.inventory.places.get(host.whereabouts)


def _twice(line: int) -> str:
    if line:
        return _("It stands in line %(line)s already.") % {"line": line}
    return str(NAME_TAKEN)


def _as_sent(values: Mapping[str, str]) -> dict[str, Any]:
    """Returns the row as the form of one host would send it; what is left empty is as usual."""
    usual = Host()
    sent: dict[str, Any] = {name: values.get(name, "") for name in COLUMNS}
    sent["transport"] = sent["transport"].lower()
    sent["os"] = sent["os"].lower() or usual.os
    if sent["transport"] == Host.Transport.LOCAL:
        sent["address"] = sent["address"] or usual.address
    for name in PORTS:
        if sent[name] == "":
            sent[name] = getattr(usual, name)
    answer = sent["allow_plain_key"].lower()
    sent["allow_plain_key"] = True if answer in YES else False if answer in NO else None
    return sent
