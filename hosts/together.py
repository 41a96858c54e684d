"""Several steps at once, of which none may be left running when one has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

__all__ = ["together"]


async def together(*steps: Awaitable[Any]) -> list[Any]:
    """What each step gives, in their order; raises the first one's error when all have ended."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
