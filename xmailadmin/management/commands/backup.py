"""Writes the whole portal into one encrypted file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from xmailadmin.backup import BackupError, write_backup
from xmailadmin.commands import FILE_HELP, PortalCommand, passphrase


class Command(PortalCommand):
    help = "Write database and keys into one encrypted file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="new file to write")
        parser.add_argument("--passphrase-file", type=Path, metavar="F", help=FILE_HELP)

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        try:
            counts = write_backup(options["file"], passphrase(options["passphrase_file"], new=True))
        except BackupError as error:
            self.fail(str(error))
        self.say(f"{options['file']} holds {sum(counts.values())} rows and the keys.")
        return {"file": str(options["file"]), "rows": counts}, False
