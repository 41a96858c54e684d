"""Restores a portal from a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from xmailadmin import home
from xmailadmin.backup import BackupError, restore
from xmailadmin.commands import FILE_HELP, PortalCommand, passphrase


class Command(PortalCommand):
    help = "Restore a backup into an empty data directory or database."
    prepares = False  # its keys come out of the backup

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="what the backup command wrote")
        parser.add_argument("--passphrase-file", type=Path, metavar="F", help=FILE_HELP)

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        try:
            return self._restore(options)
        except BaseException:
            home.take_back()  # nothing was restored: nothing stays behind
            raise

    def _restore(self, options: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        try:
            counts = restore(options["file"], passphrase(options["passphrase_file"], new=False))
        except BackupError as error:
            self.fail(str(error))
        self.say(f"{sum(counts.values())} rows and the keys are restored.")
        return {"rows": counts}, False
