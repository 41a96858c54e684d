"""What the list of pairs can be searched and filtered by."""

from __future__ import annotations

import re
from datetime import timedelta

import django_filters
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from certs.models import Pair
from certs.names import Refused, normalise_name
from xmailadmin.searching import SearchFilter, every_word

__all__ = ["PairFilter", "PairSearch", "search_pairs"]

EXPIRED, VALID = "expired", "valid"
EXPIRIES = [
    (EXPIRED, _("Expired")),
    ("30", _("Within 30 days")),
    ("90", _("Within 90 days")),
    (VALID, _("Still valid")),
]
FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(?:[: ]?[0-9A-Fa-f]{2}){3,31}")


def search_pairs(pairs: QuerySet[Pair], words: str) -> QuerySet[Pair]:
    """Returns the pairs in which every one of the words occurs somewhere.

    A fingerprint, or the beginning of one, may be written with colons, with spaces, or with none.
    """
    words = words.strip()
    if FINGERPRINT.fullmatch(words) and (" " in words or ":" in words):
        return pairs.filter(sha256__contains=re.sub("[: ]", "", words).lower())
    return pairs.filter(every_word(words, _somewhere))


def _somewhere(word: str) -> Q:
    found = (
        Q(common_name__icontains=word)
        | Q(names__icontains=word)
        | Q(memo__icontains=word)
        | Q(found_on__icontains=word)
        | Q(sha256__contains=word.replace(":", "").lower())
    )
    number = word.removeprefix("#")
    if number.isdecimal() and number.isascii() and len(number) < 10:
        found |= Q(pk=int(number))
    if not word.isascii():
        try:
            ascii_form = normalise_name(word)  # internationalised names are on record as A-labels
        except Refused:
            return found
        found |= Q(common_name__icontains=ascii_form) | Q(names__icontains=ascii_form)
    return found


class PairFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Search, expiry, and where the pair comes from."""

    q = SearchFilter(
        label=_("Name, memo or fingerprint"),
        method="search",
    )
    expiry = django_filters.ChoiceFilter(
        label=_("Expiry"), choices=EXPIRIES, method="by_expiry", empty_label=_("All")
    )
    origin = django_filters.ChoiceFilter(
        label=_("Origin"), choices=Pair.Origin.choices, empty_label=_("All")
    )

    class Meta:
        model = Pair
        fields: list[str] = []

    def search(self, pairs: QuerySet[Pair], _name: str, value: str) -> QuerySet[Pair]:
        return search_pairs(pairs, value)

    def by_expiry(self, pairs: QuerySet[Pair], _name: str, value: str) -> QuerySet[Pair]:
        now = timezone.now()
        if value == EXPIRED:
            return pairs.filter(not_after__lt=now)
        pairs = pairs.filter(not_after__gte=now)
        return (
            pairs
            if value == VALID
            else pairs.filter(not_after__lt=now + timedelta(days=int(value)))
        )


class PairSearch(PairFilter):
    """The search alone, where expiry and origin are decided already."""

    expiry = None
    origin = None
