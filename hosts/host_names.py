"""Names of hosts, by which people choose where something is installed: none looks like another."""

from __future__ import annotations

import re
import unicodedata

from certs.names import Refused, refuse_unwanted_characters

__all__ = ["mixes_letters", "refuse_invisible", "sameness"]

# What Unicode lets a program show as nothing (Default_Ignorable_Code_Point), and what is drawn as a
# blank though it is called a letter or a sign.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Blanks of other widths than the two that keyboards have.
ODD_BLANK = re.compile(r"[^\S \u3000]")
BLANKS = re.compile(r"\s+")
# Scripts with letters that look like each other's. (Japanese and Latin letters do not.)
ALIKE = ("LATIN", "GREEK", "CYRILLIC")


def refuse_invisible(name: str) -> None:
    """Raises Refused for what nobody sees in lists, mails and logs, or what turns text round."""
    refuse_unwanted_characters(name)
    if found := INVISIBLE.search(name) or ODD_BLANK.search(name):
        raise Refused("format_character", character=f"U+{ord(found[0]):04X}")
    if re.search(r"\s\s", name):
        raise Refused("blanks_in_a_row")


def sameness(name: str) -> str:
    """Returns what is equal for names that people take for the same."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return BLANKS.sub(" ", INVISIBLE.sub("", folded)).strip()


def mixes_letters(name: str) -> bool:
    """True if a word of the name has letters of several scripts that look like each other's."""
    for word in re.split(r"[\W\d_]+", name):
        names = [unicodedata.name(letter, "") for letter in word]
        if len({script for script in ALIKE for each in names if each.startswith(script)}) > 1:
            return True
    return False
