"""Serves the pages, and nothing else: the work is done by workers elsewhere."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Serve the pages alone; workers and a ticker run as processes of their own."
    requires_system_checks = ()
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        from xmailadmin.embedded import Web, listen

        if settings.EMBEDDED:
            raise CommandError(
                "CELERY_BROKER_URL names no broker, so no worker would ever hear of what is asked "
                "for here. Set it to redis://…, or run everything in one process: manage.py up."
            )
        server = listen(settings.BIND)
        self.stdout.write(f"xmailadmin is at {settings.PORTAL_URL} (listening at {settings.BIND})")
        self.stdout.flush()
        Web().run(sockets=[server])
