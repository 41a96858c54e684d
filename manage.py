#!/usr/bin/env python
"""Runs the portal's commands; `manage.py up` starts the whole portal."""

import os
import sys

from xmailadmin.escaping import escaped
from xmailadmin.home import HomeError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "xmailadmin.settings")
    from django.core.management import execute_from_command_line

    if sys.argv[1:2] in (["up"], ["web"]) and "--tls" in sys.argv:
        os.environ["XMAILADMIN_TLS"] = "1"  # the settings depend on it
    os.umask(0o077)  # the database and its journal hold secrets, if sealed ones
    try:
        execute_from_command_line(sys.argv)
    except HomeError as error:
        sys.exit(f"xmailadmin: {escaped(str(error))}")


if __name__ == "__main__":
    main()
