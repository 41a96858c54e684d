"""Says at each start whether others can get at what lies in the data directory."""

from __future__ import annotations

import stat
from contextlib import suppress
from typing import Any

from django.core.checks import CheckMessage, Warning, register

from xmailadmin import home

__all__ = ["FILES", "closed_to_others"]

FILES = "files"  # the tag of this check, for commands that make no other
PRIVATE = ("", "master.key", "secret.key", "tls.key", "xmailadmin.sqlite3")
OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


@register(FILES)
def closed_to_others(**_: Any) -> list[CheckMessage]:
    """A warning for the data directory and each file of secrets that others can read or change.

    A backup that was unpacked, or a volume, may have opened them; the portal makes all of it
    private, but closes nothing that somebody else may need.
    """
    found: list[CheckMessage] = []
    for path in (home.location() / name for name in PRIVATE):
        with suppress(OSError):
            mode = path.stat().st_mode
            if mode & OTHERS:
                found.append(
                    Warning(
                        f"Others can read or change {path} (mode {stat.S_IMODE(mode):o}).",
                        hint=f"chmod {700 if stat.S_ISDIR(mode) else 600} {path}",
                        id="xmailadmin.W001",
                    )
                )
    return found
