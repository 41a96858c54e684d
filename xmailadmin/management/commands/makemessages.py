"""Django's makemessages, set so that the translation files hold facts only and change little."""

from __future__ import annotations

import re
from pathlib import Path

from django.core.management.base import CommandParser
from django.core.management.commands import makemessages


class Command(makemessages.Command):
    """Finds every text to translate; new ones come untranslated, old ones go.

    Guesses ("fuzzy"), line numbers and dates are left out: a change of the file is a change of
    a text.
    """

    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(
            add_location="file",
            no_obsolete=True,
            ignore_patterns=["tests/*", "bench/*", "docs/*", "data/*"],
        )

    def write_po_file(self, potfile: str, locale: str) -> None:
        super().write_po_file(potfile, locale)
        path = Path(potfile).parent / locale / "LC_MESSAGES" / f"{self.domain}.po"
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r'"POT-Creation-Date: .*\n', "", text), encoding="utf-8")
