"""What people search for: few words, so that no search costs more than a moment.

A database takes every word of a search through every row, and what strings them together has a
limit of its own (SQLite: "Expression tree is too large").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import ngettext

__all__ = ["MOST_LETTERS", "SearchField", "SearchFilter", "every_word"]

MOST_LETTERS = 200
MOST_WORDS = 32  # a fingerprint in pairs of digits has so many


def every_word(text: str, somewhere: Callable[[str], Q]) -> Q:
    """Returns the one condition that each word of `text` fits `somewhere`.

    What is too long was refused by SearchField; wherever none has looked, the rest is left out.
    """
    words = text[:MOST_LETTERS].split()[:MOST_WORDS]
    wanted = Q()
    for word in dict.fromkeys(words):
        wanted &= somewhere(word)
    return wanted


def _few_words(text: str) -> None:
    if len(text.split()) > MOST_WORDS:
        raise ValidationError(
            ngettext(
                "Search for no more than %(most)s word at once.",
                "Search for no more than %(most)s words at once.",
                MOST_WORDS,
            ),
            params={"most": MOST_WORDS},
        )


class SearchField(forms.CharField):
    """Words that shall all occur."""

    widget = forms.TextInput(attrs={"type": "search"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": MOST_LETTERS, **kwargs})
        self.validators.append(_few_words)


class SearchFilter(django_filters.CharFilter):  # type: ignore[misc]
    """The search of a list."""

    field_class = SearchField
