"""What the audit can be searched and filtered by."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from xmailadmin.audit_words import ACTIONS, named
from xmailadmin.models import AuditEntry
from xmailadmin.searching import MOST_LETTERS, SearchFilter, every_word

GROUPS = [
    ("signin,signout,second_factor,password,single_sign_on,sessions", _("Signing in")),
    ("person,user", _("People")),
    (
        "access,signin.failed,second_factor.failed,signin.blocked,signin.refused,signin.outdated",
        _("Refusals"),
    ),
    ("pair.key,pair.zip,pair.send", _("Private keys")),
    ("host", _("Hosts")),
    ("pair", _("Pairs")),
    ("deployment", _("Deployments")),
    ("note", _("Client notes")),
    ("audit", _("Audit")),
]


def _dates() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date"})


class PersonFilter(django_filters.CharFilter):  # type: ignore[misc]
    """By who it was, as the pages call them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": MOST_LETTERS, **kwargs})

    def filter(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(named(self.field_name, value)) if value else rows


class AuditFilter(django_filters.FilterSet):  # type: ignore[misc]
    """By words, kind, person and date; a link may also choose one object."""

    q = SearchFilter(
        label=_("Object, address or action"),
        method="search",
    )
    kind = django_filters.ChoiceFilter(
        label=_("Kind"), choices=GROUPS, method="of_kind", empty_label=_("All")
    )
    person = PersonFilter(label=_("Person"), field_name="actor_name")
    since = django_filters.DateFilter(
        label=_("From"), field_name="at", lookup_expr="date__gte", widget=_dates()
    )
    until = django_filters.DateFilter(
        label=_("To"), field_name="at", lookup_expr="date__lte", widget=_dates()
    )
    type = django_filters.CharFilter(field_name="object_type", widget=forms.HiddenInput())
    id = django_filters.CharFilter(field_name="object_id", widget=forms.HiddenInput())

    class Meta:
        model = AuditEntry
        fields: list[str] = []

    def search(self, rows: QuerySet[AuditEntry], _name: str, value: str) -> QuerySet[AuditEntry]:
        return rows.filter(every_word(value, _somewhere))

    def of_kind(self, rows: QuerySet[AuditEntry], _name: str, value: str) -> QuerySet[AuditEntry]:
        wanted = Q()
        for action in value.split(","):
            wanted |= Q(action=action) | Q(action__startswith=f"{action}.")
        return rows.filter(wanted)


def _somewhere(text: str) -> Q:
    wanted = text.lower()
    said = [action for action, words in ACTIONS.items() if wanted in str(words).lower()]
    return (
        Q(object_name__icontains=text)
        | Q(address__icontains=text)
        | Q(action__icontains=text)
        | Q(action__in=said)
    )


def chosen(found: Any) -> dict[str, Any]:
    """Returns what a filter form was asked for, without what was left empty."""
    data = found.form.cleaned_data if found.form.is_valid() else {}
    return {name: value for name, value in data.items() if value not in (None, "")}
