"""What every command of the portal shares: a prepared data directory, `--json`, clear errors."""

from __future__ import annotations

import getpass
import json
import locale
import os
import stat
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.utils import translation

from xmailadmin import home
from xmailadmin.escaping import escaped
from xmailadmin.prepare import prepare

__all__ = ["FILE_HELP", "CommandError", "PortalCommand", "passphrase"]

VARIABLE = "XMAILADMIN_BACKUP_PASSPHRASE"  # in the environment
FILE_HELP = f"file with the passphrase (default: {VARIABLE}, or else it is asked for)"


class _Output(OutputWrapper):
    """Prints while it can. Where nobody reads any more, or the disk is full, the work goes on.

    What is printed may come from anybody: nothing of it but line ends reaches a terminal raw.
    """

    def __init__(self, output: Any) -> None:
        self._stream: Any = output._out
        super().__init__(self._stream, output.ending)
        self.style_func = output.style_func
        self.lost = False
        if reconfigure := getattr(self._stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # what the locale cannot write, in ASCII

    def write(self, msg: str = "", *args: Any, **options: Any) -> int:  # type: ignore[override]
        if self.lost:
            return 0
        try:
            super().write(escaped(msg, kept="\n"), *args, **options)
            self.flush()
        except OSError:
            self.lost = True
            self._drop()
        return 0

    def _drop(self) -> None:
        """Lets go of what could not be written: Python would try again when it ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class PortalCommand(BaseCommand):
    """Runs `work`, which prints lines for people or returns one object for `--json`.

    An expected failure raises CommandError: one clear sentence on stderr, exit status 1, and with
    `--json` an object that holds the sentence as `error`. What cannot be printed stops no work;
    the exit status is 1 then. Arguments that are no UTF-8 text are refused: nothing can store them.
    """

    requires_migrations_checks = False
    prepares = True  # brings the data directory up to date first

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        complain = parser.error
        parser.error = lambda message: complain(escaped(message))  # type: ignore[method-assign]
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        self.json: bool = options["json"]
        self.stdout, self.stderr = outputs = _Output(self.stdout), _Output(self.stderr)
        try:
            _check_text(options)
            with self.around(**options):
                if self.prepares:
                    prepare()
                with translation.override(_language()):
                    result, failed = self.work(**options)
        except (CommandError, home.HomeError) as error:
            self._print({"error": str(error)})
            raise
        self._print(result)
        if failed or any(output.lost for output in outputs):
            raise SystemExit(1)

    def _print(self, result: dict[str, Any]) -> None:
        if self.json:
            self.stdout.write(json.dumps(result, ensure_ascii=False, indent=2))

    def around(self, **options: Any) -> AbstractContextManager[object]:
        """Returns what holds while the command runs, for one that has to look before it prepares.

        May raise CommandError.
        """
        return nullcontext()

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        """Returns the object for `--json`, and whether the command failed."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Prints a line for people, at once; with `--json` nothing but the object is printed."""
        if not self.json:
            self.stdout.write(line)

    def fail(self, *sentences: str) -> NoReturn:
        """Ends the command with a line for each sentence."""
        raise CommandError("\n".join(map(escaped, sentences)))


def _language() -> str:
    """Returns Japanese where the shell's locale asks for it, else English."""
    return "ja" if (locale.setlocale(locale.LC_CTYPE) or "").lower().startswith("ja") else "en"


def _check_text(options: dict[str, Any]) -> None:
    for option in options.values():
        for each in option if isinstance(option, list) else [option]:
            try:
                os.fspath(each).encode() if isinstance(each, str | Path) else None
            except UnicodeEncodeError:  # bytes that are none came in as surrogates
                shown = escaped(os.fspath(each))
                raise CommandError(f"This argument is not UTF-8 text: {shown}") from None


def _warn_if_open(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        sys.stderr.write(f"Warning: others can read {path}, which opens the backup: chmod 600.\n")


def passphrase(path: Path | None, *, new: bool) -> str:
    """Returns the passphrase of a backup: from a file, XMAILADMIN_BACKUP_PASSPHRASE or the person.

    Raises CommandError if there is none, or if a new one was not typed twice alike.
    """
    if path is not None:
        try:
            _warn_if_open(path)
            return home.given_text(path).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            sentence = escaped(f"{path} cannot be read: {home.reason(error)}.")
            raise CommandError(sentence) from None
    if given := home.from_environment(VARIABLE):
        if not os.environ.get(VARIABLE):
            _warn_if_open(Path(os.environ[f"{VARIABLE}_FILE"]))
    elif not sys.stdin.isatty():
        raise CommandError(f"Give the passphrase by --passphrase-file or {VARIABLE}.")
    else:
        given = getpass.getpass("Passphrase: ")
        if new and given != getpass.getpass("The same again: "):
            raise CommandError("The two passphrases differ.")
    try:
        given.encode()
    except UnicodeEncodeError:  # bytes that are none came in as surrogates
        raise CommandError("The passphrase cannot be used: it is not UTF-8 text.") from None
    return given
