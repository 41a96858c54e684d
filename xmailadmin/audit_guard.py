"""Makes the database itself refuse to change or delete audit entries."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connections

__all__ = ["guard"]

TABLE = "xmailadmin_auditentry"
REFUSAL = "audit entries are only ever added"

SQLITE = [
    *(
        f"CREATE TRIGGER IF NOT EXISTS {TABLE}_{what} BEFORE {what.upper()} ON {TABLE} "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        for what in ("update", "delete")
    ),
    # INSERT OR REPLACE takes a row away without asking the trigger above.
    f"CREATE TRIGGER IF NOT EXISTS {TABLE}_insert BEFORE INSERT ON {TABLE} "  # noqa: S608
    f"WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE id = NEW.id OR number = NEW.number) "
    f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
]
POSTGRESQL = [
    # An empty table may be emptied: so begins the move of a portal to this database.
    f"CREATE OR REPLACE FUNCTION {TABLE}_refuse() RETURNS trigger "  # noqa: S608
    f"LANGUAGE plpgsql AS $$ BEGIN "
    f"IF TG_OP = 'TRUNCATE' AND NOT EXISTS (SELECT 1 FROM {TABLE}) THEN RETURN NULL; "
    f"END IF; RAISE EXCEPTION '{REFUSAL}'; END $$",
    f"CREATE OR REPLACE TRIGGER {TABLE}_guard BEFORE UPDATE OR DELETE ON {TABLE} "
    f"FOR EACH ROW EXECUTE FUNCTION {TABLE}_refuse()",
    f"CREATE OR REPLACE TRIGGER {TABLE}_guard_all BEFORE TRUNCATE ON {TABLE} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {TABLE}_refuse()",
]
STATEMENTS = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def guard(using: str = "default", **_kwargs: Any) -> None:
    """Puts the triggers there; called after every migration, since rebuilding a table drops them.

    Tests empty the table between them and do without (AUDIT_GUARD).
    """
    if not settings.AUDIT_GUARD:
        return
    with connections[using].cursor() as cursor:
        for statement in STATEMENTS.get(connections[using].vendor, []):
            cursor.execute(statement)
