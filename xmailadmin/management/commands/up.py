"""Runs the whole portal in one process."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from xmailadmin import home
from xmailadmin.prepare import first_administrator, prepare
from xmailadmin.tls import check_exposure, own_pair

TLS_HELP = "serve HTTPS with a pair of the portal's own making"

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Run the portal: web server, worker and ticker, with no other server to install."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tls", action="store_true", help=TLS_HELP)

    def handle(self, *args: Any, **options: Any) -> None:
        from xmailadmin.embedded import Portal, listen

        if not settings.EMBEDDED:
            logger.warning(
                "CELERY_BROKER_URL names a broker for processes of their own, but `up` is web "
                "server, worker and ticker in one: it will do the work of all three here. To run "
                "them apart use `manage.py web`, `celery -A xmailadmin worker` and "
                "`celery -A xmailadmin beat` (docs/operating.md)."
            )
        check_exposure(settings.BIND)
        server = listen(settings.BIND)
        prepare()
        administrator = first_administrator()
        self._say(f"xmailadmin is at {settings.PORTAL_URL} (listening at {settings.BIND})")
        self._say(f"Data directory: {home.directory()}")
        own = own_pair(timezone.now()) if settings.TLS else None
        if own is not None:
            self._say(f"SHA-256 of its certificate: {own.fingerprint}")
        if administrator is None:
            self._say("Log in with your account.")
        elif administrator.password:
            self._say(
                f"Log in as {administrator.username} with the password {administrator.password}\n"
                "This password is shown only now. Change it after logging in."
            )
        else:
            self._say(f"Log in as {administrator.username} with the password that you set.")
        self._say("Press Ctrl-C to stop.")
        Portal(server, own).serve()
        self._say("xmailadmin has stopped.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
