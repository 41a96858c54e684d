"""A throw-away portal whose rows the benchmarks work on, without a web server."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="xmailadmin-bench-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


def set_up() -> None:
    """Makes Django usable with an empty database in a directory of its own."""
    for name in [name for name in os.environ if name.startswith("XMAILADMIN_")]:
        del os.environ[name]
    os.environ["XMAILADMIN_HOME"] = str(HOME / "portal")
    os.environ["DJANGO_SETTINGS_MODULE"] = "xmailadmin.settings"
    import django

    django.setup()
    from xmailadmin.prepare import prepare

    prepare()
