"""Serves the pages, and nothing else: the work is done by workers elsewhere."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.utils import timezone

from xmailadmin.checks import FILES
from xmailadmin.management.commands.up import TLS_HELP
from xmailadmin.prepare import behind
from xmailadmin.tls import check_exposure, own_pair


class Command(BaseCommand):
    help = "Serve the pages alone; workers and a ticker run as processes of their own."
    requires_system_checks = (FILES,)
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tls", action="store_true", help=TLS_HELP)

    def handle(self, *args: Any, **options: Any) -> None:
        from xmailadmin.embedded import Web, listen

        if settings.EMBEDDED:
            raise CommandError(
                "CELERY_BROKER_URL names no broker, so no worker would ever hear of what is asked "
                "for here. Set it to redis://…, or run everything in one process: manage.py up."
            )
        check_exposure(settings.BIND)
        with suppress(DatabaseError):  # away for now: the pages say so, and come when it is back
            if behind():
                raise CommandError(
                    "The database is not of this version yet. Run `manage.py prepare` first."
                )
            connection.close()
        server = listen(settings.BIND)
        own = own_pair(timezone.now()) if settings.TLS else None
        self.stdout.write(f"xmailadmin is at {settings.PORTAL_URL} (listening at {settings.BIND})")
        if own is not None:
            self.stdout.write(f"SHA-256 of its certificate: {own.fingerprint}")
        self.stdout.flush()
        Web(own).run(sockets=[server])
