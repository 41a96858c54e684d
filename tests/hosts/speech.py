"""Checks that a message can be said."""

from __future__ import annotations

from hosts.messages import Message
from hosts.wording import TEXTS


def spoken(message: Message) -> str:
    """The message in words; fails if it has no wording, or the wording wants other parameters."""
    assert message.code in TEXTS, f"{message.code} has no wording"
    return str(TEXTS[message.code]) % message.params
