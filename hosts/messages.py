"""What the pure modules say: a code with parameters, worded later in the reader's language."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from unicodedata import category

Param = str | int


@dataclass(frozen=True)
class Message:
    """One statement about a host; `hosts.wording.word` turns it into a sentence.

    Parameters are plain strings and numbers, and never secrets: they are stored in the history.
    Whatever a host said in them is made printable, since it also reaches terminals and logs.
    """

    code: str
    params: Mapping[str, Param] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        clean = {
            name: printable(value) if isinstance(value, str) else value
            for name, value in self.params.items()
        }
        object.__setattr__(self, "params", clean)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {"code": self.code, "params": dict(self.params)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Message:
        """The message that `to_json` wrote; raises KeyError without a code."""
        return cls(str(raw["code"]), dict(raw.get("params") or {}))

    def __str__(self) -> str:
        """The code and its parameters, for logs."""
        return " ".join([self.code, *(f"{name}={value}" for name, value in self.params.items())])


def printable(text: str) -> str:
    """`text` with a question mark for each letter that moves a cursor, hides or misleads the eye.

    Blanks stay, whatever their width. What is left can be stored in every database.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or category(letter) == "Zs" else "?" for letter in text
    )


def system_reason(error: OSError) -> str:
    """What the operating system said, without what Python adds ("Connect call failed (…)")."""
    if error.errno and not isinstance(error, ssl.SSLError | socket.gaierror | socket.herror):
        return os.strerror(error.errno)
    return error.strerror or str(error)
