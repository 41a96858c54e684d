"""A finding: one thing that was found on a host, how grave it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hosts.messages import Message


@dataclass(frozen=True)
class Finding:
    """One thing that was found; `level` is ok, info, warning or error."""

    code: str
    level: str
    message: Message
    remedy: Message | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {
            "code": self.code,
            "level": self.level,
            "message": self.message.to_json(),
            "remedy": self.remedy.to_json() if self.remedy else None,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Finding:
        """What `to_json` wrote."""
        remedy = raw.get("remedy")
        return cls(
            code=raw["code"],
            level=raw["level"],
            message=Message.from_json(raw["message"]),
            remedy=Message.from_json(remedy) if remedy else None,
        )


def finding(level: str, message: Message, remedy: Message | None = None) -> Finding:
    """A finding whose code is that of its message."""
    return Finding(message.code.removeprefix("diagnosis."), level, message, remedy)


def new_pair() -> Message:
    """The remedy for a certificate that no longer does."""
    return Message("remedy.new_pair")
