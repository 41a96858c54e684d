"""A portal of the benchmark's own: a database in a directory that goes away, no web server."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="xmailadmin-bench-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


def set_up(database_url: str = "") -> None:
    """Makes Django usable with an empty database: the one given, or an SQLite file of our own."""
    for name in [name for name in os.environ if name.startswith("XMAILADMIN_")]:
        del os.environ[name]
    os.environ["XMAILADMIN_HOME"] = str(HOME / "portal")
    os.environ["DJANGO_SETTINGS_MODULE"] = "xmailadmin.settings"
    os.environ.pop("DATABASE_URL", None)
    if database_url:
        os.environ["DATABASE_URL"] = database_url
    import django

    django.setup()
    from xmailadmin.prepare import prepare

    prepare()
    logging.disable(logging.WARNING)
