"""Runs the whole portal in one process."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from xmailadmin import home
from xmailadmin.prepare import first_administrator, prepare

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Run the portal: web server, worker and ticker, with no other server to install."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        from xmailadmin.embedded import Portal, listen

        if not settings.EMBEDDED:
            logger.warning(
                "CELERY_BROKER_URL names a broker for processes of their own, but `up` is web "
                "server, worker and ticker in one: it will do the work of all three here. To run "
                "them apart use `manage.py web`, `celery -A xmailadmin worker` and "
                "`celery -A xmailadmin beat` (docs/operating.md)."
            )
        server = listen(settings.BIND)
        prepare()
        administrator = first_administrator()
        self._say(f"xmailadmin is at {settings.PORTAL_URL} (listening at {settings.BIND})")
        self._say(f"Data directory: {home.directory()}")
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
        Portal(server).serve()
        self._say("xmailadmin has stopped.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
