"""What the lists of hosts, deployments and installations can be searched and filtered by."""

from __future__ import annotations

import re
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from hosts.models import Deployment, Host, Installation
from xmailadmin.filters import PersonFilter
from xmailadmin.searching import SearchFilter, every_word

DISABLED = "disabled"
KEY = re.compile(r"[0-9]{1,18}")
LARGEST_KEY = 10**18  # every database can compare keys with it
STATES = [*Host.State.choices, (DISABLED, _("Disabled"))]
ENABLED_STATES = list(Host.State.choices)


def key(raw: object) -> int:
    """Returns a primary key as a person or a link wrote it; 0, which no row has, for nonsense."""
    return int(str(raw)) if KEY.fullmatch(str(raw)) else 0


def chosen_by_link(field: str) -> Any:
    """Returns a filter by one related object, which only links fill in."""
    return django_filters.NumberFilter(
        field_name=field, min_value=1, max_value=LARGEST_KEY, widget=forms.HiddenInput()
    )


def search_hosts(hosts: QuerySet[Host], words: str) -> QuerySet[Host]:
    """Returns the hosts in which every one of the words occurs somewhere."""
    return hosts.filter(
        every_word(
            words,
            lambda text: (
                Q(name__icontains=text)
                | Q(address__icontains=text)
                | Q(mailroot__icontains=text)
                | Q(memo__icontains=text)
            ),
        )
    )


class HostFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Search, state, and how the host is reached."""

    q = SearchFilter(
        label=_("Name, address, MailRoot or memo"),
        method="search",
    )
    state = django_filters.ChoiceFilter(
        label=_("State"), choices=STATES, method="in_state", empty_label=_("All")
    )
    transport = django_filters.ChoiceFilter(
        label=_("Transport"), choices=Host.Transport.choices, empty_label=_("All")
    )
    pair = chosen_by_link("pair")

    class Meta:
        model = Host
        fields: list[str] = []

    def search(self, hosts: QuerySet[Host], _name: str, value: str) -> QuerySet[Host]:
        return search_hosts(hosts, value)

    def in_state(self, hosts: QuerySet[Host], _name: str, value: str) -> QuerySet[Host]:
        if value == DISABLED:
            return hosts.filter(disabled=True)
        return hosts.filter(disabled=False, state=value)


DEPLOYMENT_STATES = [
    ("running", _("Under way")),
    ("good", _("Done on every host")),
    ("bad", _("With failures")),
]


class DeploymentFilter(django_filters.FilterSet):  # type: ignore[misc]
    """How it went, what it did, and who asked for it."""

    outcome = django_filters.ChoiceFilter(
        label=_("Outcome"), choices=DEPLOYMENT_STATES, method="by_outcome", empty_label=_("All")
    )
    kind = django_filters.ChoiceFilter(
        label=_("Kind"), choices=Deployment.Kind.choices, empty_label=_("All")
    )
    person = PersonFilter(label=_("Person"), field_name="created_by_name")
    pair = chosen_by_link("pair")

    class Meta:
        model = Deployment
        fields: list[str] = []

    def by_outcome(
        self, deployments: QuerySet[Deployment], _name: str, value: str
    ) -> QuerySet[Deployment]:
        if value == "running":
            return deployments.filter(finished_at=None)
        bad = Installation.objects.filter(status__in=Installation.BAD).values("deployment")
        done = deployments.filter(finished_at__isnull=False)
        return done.filter(pk__in=bad) if value == "bad" else done.exclude(pk__in=bad)


OUTCOMES = [
    ("good", _("Succeeded")),
    ("bad", _("Did not succeed")),
    *Installation.Status.choices,
]


class InstallationFilter(django_filters.FilterSet):  # type: ignore[misc]
    """By host, outcome, person and date; a link may also choose one host or one pair exactly."""

    q = SearchFilter(
        label=_("Host"),
        field_name="host_name",
        lookup_expr="icontains",
    )
    outcome = django_filters.ChoiceFilter(
        label=_("Outcome"), choices=OUTCOMES, method="by_outcome", empty_label=_("All")
    )
    person = PersonFilter(label=_("Person"), field_name="deployment__created_by_name")
    since = django_filters.DateFilter(
        label=_("From"),
        field_name="deployment__created_at",
        lookup_expr="date__gte",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    until = django_filters.DateFilter(
        label=_("To"),
        field_name="deployment__created_at",
        lookup_expr="date__lte",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    host = chosen_by_link("host")
    pair = chosen_by_link("pair")

    class Meta:
        model = Installation
        fields: list[str] = []

    def by_outcome(
        self, rows: QuerySet[Installation], _name: str, value: str
    ) -> QuerySet[Installation]:
        groups = {"good": Installation.GOOD, "bad": Installation.BAD}
        return rows.filter(status__in=groups.get(value, (value,)))


class DiagnosisFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Search and state; disabled hosts are not diagnosed."""

    q = SearchFilter(
        label=_("Name, address, MailRoot or memo"),
        method="search",
    )
    state = django_filters.ChoiceFilter(
        label=_("State"), choices=ENABLED_STATES, empty_label=_("All")
    )

    class Meta:
        model = Host
        fields: list[str] = []

    def search(self, hosts: QuerySet[Host], _name: str, value: str) -> QuerySet[Host]:
        return search_hosts(hosts, value)


def narrowed(filterset: Any) -> bool:
    """True if at least one choice of the filter says something."""
    return any(filterset.form.data.get(name) for name in filterset.filters)
