"""Text that anybody may have chosen, on its way to a terminal or a log."""

from __future__ import annotations

import json
from unicodedata import category

__all__ = ["escaped"]


def escaped(text: str, *, kept: str = "") -> str:
    r"""Returns the text with escapes, such as \u001b, for whatever is no letter, sign or blank.

    They are those of JSON, which a JSON text can hold everywhere outside its own line ends.
    Letters in `kept` stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in kept or category(letter) == "Zs"
        else json.dumps(letter)[1:-1]
        for letter in text
    )
