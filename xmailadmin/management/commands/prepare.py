"""Brings the database up to date and makes the first administrator, once for all processes."""

from __future__ import annotations

from typing import Any

from xmailadmin.commands import PortalCommand
from xmailadmin.prepare import first_administrator


class Command(PortalCommand):
    help = "Prepare database and first administrator: before the first start and each upgrade."

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        made = first_administrator()
        if made is None:
            self.say("The database is up to date. No administrator was made.")
            return {"administrator": None}, False
        self.say(f"The database is up to date. Log in as {made.username}.")
        if made.password:
            self.say(f"The password is {made.password}")
            self.say("It is shown only now: change it after logging in.")
        return {"administrator": made.username}, False
