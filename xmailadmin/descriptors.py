"""How many files and sockets this process may have open at once."""

from __future__ import annotations

import logging
from contextlib import suppress

__all__ = ["ENOUGH", "raise_limit"]

logger = logging.getLogger(__name__)

# Four chunks of 50 hosts, each with one connection and six endpoints under probe, and the rest.
ENOUGH = 4096


def raise_limit(wanted: int = ENOUGH) -> int:
    """Raises the soft limit as far towards `wanted` as the hard one allows; returns what holds."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):  # refused: then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    reached: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if reached < wanted:
        logger.warning(
            "Only %d files and sockets may be open at once; %d are needed to work on 200 hosts. "
            "Raise the limit (LimitNOFILE=, ulimit -n).",
            reached,
            wanted,
        )
    return reached
