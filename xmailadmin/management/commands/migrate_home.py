"""Moves a portal from its SQLite file to the PostgreSQL database that DATABASE_URL names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.db import connection

from xmailadmin import audit, audit_note, home
from xmailadmin.commands import PortalCommand
from xmailadmin.moving import MoveError, check_source, move, opened


class Command(PortalCommand):
    help = "Move a SQLite portal to the empty PostgreSQL database that DATABASE_URL names."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--source",
            type=Path,
            default=home.directory() / "xmailadmin.sqlite3",
            metavar="FILE",
            help="SQLite file of the portal (default: the one in XMAILADMIN_HOME)",
        )

    @contextmanager
    def around(self, **options: Any) -> Iterator[None]:
        if connection.vendor != "postgresql":
            self.fail(
                "DATABASE_URL names no PostgreSQL database. Set it to the empty database to move "
                "to: postgres://USER:PASSWORD@HOST:5432/NAME."
            )
        try:
            with opened(options["source"]):
                check_source()  # before anything is made in the new database
                yield
        except MoveError as error:
            self.fail(str(error))

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        counts = move(self.say)
        if not counts:
            self.say("Every row is there already; nothing was done.")
            return {"moved": {}, "rows": 0, "audit_problems": 0}, False
        # The new portal may have a data directory that has not seen this audit yet.
        problems = len([problem for problem in audit.verify() if problem.code != "unnoted"])
        total = sum(counts.values())
        if not problems:
            audit_note.remember()
        audit.record(None, "portal.move", rows=total)
        self.say(f"{total} rows are in PostgreSQL, compared one by one; every secret opens.")
        if problems:
            self.stderr.write(
                "The audit is not in order, as it was not in SQLite; problems: "
                f"{problems} (manage.py verify_audit)."
            )
        else:
            self.say("The audit is complete and unchanged.")
        self.say(
            f"{options['source']} was only read. Keep it until you are content, then remove it."
        )
        return {"moved": counts, "rows": total, "audit_problems": problems}, False
