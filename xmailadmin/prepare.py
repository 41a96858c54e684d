"""Makes a data directory ready: database, master key, first administrator.

Safe to run at every start and by several processes: what is there is left as it is.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.db.migrations.executor import MigrationExecutor

from xmailadmin import audit, home, roles, vault
from xmailadmin.models import User
from xmailadmin.rotation import missing_keys, needed_keys, rows_of

__all__ = [
    "Administrator",
    "behind",
    "check_master_keys",
    "first_administrator",
    "migrate",
    "prepare",
]

logger = logging.getLogger(__name__)
MIGRATING = 0x786D61696C  # "xmail": the advisory lock of whoever migrates


@dataclass(frozen=True)
class Administrator:
    """The account that was made, or made administrator again.

    `password` is empty unless it was generated just now.
    """

    username: str
    password: str = ""


def prepare() -> None:
    """Brings the database up to date and makes the master key.

    Raises home.HomeError when the database cannot be used or a needed master key is not at hand.
    """
    migrate()
    check_master_keys(create=True)


def migrate() -> None:
    """Brings the tables of the database up to date. Raises home.HomeError if it cannot be used."""
    database = connections[DEFAULT_DB_ALIAS]
    if database.vendor == "sqlite" and not database.is_in_memory_db():  # type: ignore[attr-defined]
        with suppress(OSError):  # it is there; or it cannot be made, which SQLite says itself
            os.close(home.new_file(Path(database.settings_dict["NAME"])))
    try:
        if behind():
            with _alone():
                call_command("migrate", interactive=False, verbosity=0)
    except DatabaseError as error:
        name = settings.DATABASES[DEFAULT_DB_ALIAS]["NAME"]
        ask = getattr(connections[DEFAULT_DB_ALIAS], "refusal", None)
        why = (ask and ask()) or str(error).strip()
        raise home.HomeError(f"the database {name} cannot be used: {why}") from None


def behind() -> bool:
    """True if the tables are older than the code. Raises DatabaseError if nobody can tell."""
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


@contextmanager
def _alone() -> Iterator[None]:
    """Makes several processes that start at once migrate one after the other."""
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor != "postgresql":
        yield  # SQLite's own lock does that
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATING])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATING])


def first_administrator() -> Administrator | None:
    """Makes an administrator when no active one exists and returns it; None when there is one.

    Name and password come from XMAILADMIN_ADMIN and XMAILADMIN_ADMIN_PASSWORD. Where no password
    is given, one is generated for a new account, which is known to nobody but the caller. One that
    is there may have been switched off, or lost the role: without a password it stays as it is.
    """
    with _alone():
        return None if roles.administrators().exists() else _make_administrator()


def _make_administrator() -> Administrator | None:
    username = User.normalize_username(home.from_environment("XMAILADMIN_ADMIN", "admin"))
    given = home.from_environment("XMAILADMIN_ADMIN_PASSWORD")
    # However it is spelt: two names that differ by that alone could both not sign in.
    user = User.objects.filter(username__iexact=username).first() or User(username=username)
    if user.pk is not None and not given:
        logger.warning(
            "Nobody who can manage people has a password or a connected login, and the account %s "
            "is none of them. Give XMAILADMIN_ADMIN_PASSWORD to make it one with that password, or "
            "XMAILADMIN_ADMIN for another account.",
            user.username,
        )
        return None
    generated = "" if given else secrets.token_urlsafe(12)
    user.is_active = user.is_staff = user.is_superuser = True
    user.set_password(given or generated)
    try:
        user.full_clean()
    except ValidationError as error:
        told = "; ".join(error.messages)
        raise home.HomeError(f"XMAILADMIN_ADMIN={username!r}: {told}") from None
    with transaction.atomic():
        user.save()
        audit.record(None, "user.first_administrator", user)
    return Administrator(user.username, generated)


def check_master_keys(*, create: bool = False) -> None:
    """Raises HomeError if a master key that secrets need is not at hand or cannot be read.

    With `create` it makes the first one, but never a new one beside secrets that an old one sealed.
    Raises DatabaseError or InterfaceError if nobody can tell.
    """
    try:
        missing = missing_keys()
        if missing is None and create:
            vault.create_master_key()
        if missing is None and (create or home.from_environment("XMAILADMIN_MASTER_KEYS")):
            vault.key_ids()  # one that comes from the environment may be no key at all
    except vault.VaultError as error:
        raise home.HomeError(str(error)) from None
    if damaged := "" in needed_keys() and rows_of(""):
        logger.warning(
            "Secrets in the database are damaged, and cannot be opened by any key: %s. "
            "Enter them anew, or restore a backup.",
            ", ".join(damaged),
        )
    if missing == set() and (foreign := needed_keys() - {"", *vault.key_ids()}):
        logger.warning(
            "The key of the audit's seal was sealed by the master key %s, which is not at hand: "
            "put that back, or see verify_audit and its --remember.",
            ", ".join(sorted(foreign)),
        )
    if missing:
        raise home.HomeError(
            f"the master key {', '.join(sorted(missing))}, which sealed secrets in the database, "
            "is not at hand. Put that key back, or restore the backup that belongs to it. "
            f"Such secrets are: {', '.join(rows_of(min(missing)))}."
        )
