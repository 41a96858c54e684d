"""The part of a form that chooses hosts: all, some, or those that fit a search."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from hosts.filters import key, search_hosts
from hosts.models import Host
from xmailadmin.searching import SearchField

SHOWN = 100  # hosts offered as check boxes; whoever has more searches for them


class HostsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Hosts by their keys; what cannot be a key is a host that does not exist."""

    def clean(self, value: Any) -> QuerySet[Host]:
        if isinstance(value, list | tuple) and not all(map(key, value)):
            raise forms.ValidationError(self.error_messages["invalid_choice"], "invalid_choice")
        found: QuerySet[Host] = super().clean(value)
        return found


class HostChoice(forms.Form):
    """Fields `which`, `hosts` and `host_search`; templates/hosts/choose_hosts.html draws them."""

    ALL, SOME, SEARCH = "all", "some", "search"

    which = forms.ChoiceField(
        label=_("Hosts"),
        choices=[
            (ALL, _("All hosts")),
            (SOME, _("The hosts chosen here")),
            (SEARCH, _("Every host that fits a search")),
        ],
        initial=SOME,
        required=False,
        widget=forms.RadioSelect,
    )
    hosts = HostsField(label=_("Chosen hosts"), queryset=Host.objects.none(), required=False)
    host_search = SearchField(
        label=_("Name, address, MailRoot or memo contains"),
        required=False,
        widget=forms.TextInput,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["hosts"]
        assert isinstance(field, forms.ModelMultipleChoiceField)  # noqa: S101  for the type checker
        field.queryset = self.offered
        field.error_messages["invalid_choice"] = _(
            "One of these hosts was changed, disabled or deleted meanwhile. Please choose again."
        )
        self.fields["host_search"].widget.attrs["class"] = "form-control"

    @property
    def offered(self) -> QuerySet[Host]:
        """Every host that something can be installed on."""
        return Host.objects.filter(disabled=False).select_related("pair")

    @cached_property
    def count(self) -> int:
        """How many hosts there are to choose from."""
        return self.offered.count()

    @cached_property
    def rows(self) -> list[tuple[Host, bool]]:
        """The hosts shown as check boxes with whether they are ticked, the ticked ones first."""
        ticked = self._ticked()
        shown = list(self.offered.filter(pk__in=ticked)[:SHOWN]) if ticked else []
        if room := SHOWN - len(shown):
            shown += self.offered.exclude(pk__in=[host.pk for host in shown])[:room]
        return [(host, host.pk in ticked) for host in shown]

    @property
    def hidden_rows(self) -> int:
        """How many hosts have no check box."""
        return max(0, self.count - len(self.rows))

    def _ticked(self) -> set[int]:
        raw = self["hosts"].value() or []
        values = [getattr(value, "pk", value) for value in raw]
        return {pk for value in values if (pk := key(value))}

    @property
    def found(self) -> list[Host]:
        """The first hosts that fit the search as it was sent, for the preview."""
        words = str(self["host_search"].value() or "")
        return list(search_hosts(self.offered, words)[:SHOWN]) if words.strip() else []

    def wants_hosts(self) -> bool:
        """False when the choice does not matter and is not checked."""
        return True

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        if self.wants_hosts() and "hosts" not in self.errors:
            self._check_choice()
        return data

    def _check_choice(self) -> None:
        which = self.cleaned_data.get("which") or self.SOME
        self.cleaned_data["which"] = which
        if which == self.SEARCH and not self.cleaned_data.get("host_search", "").strip():
            self.add_error("host_search", _("Write what to search for."))
        elif not self.chosen().exists():
            field, text = {
                self.ALL: ("which", _("There is no host that is not disabled.")),
                self.SOME: ("hosts", _("Choose at least one host.")),
                self.SEARCH: ("host_search", _("No host fits this search.")),
            }[which]
            self.add_error(field, text)

    def chosen(self) -> QuerySet[Host]:
        """Returns the hosts that were chosen, by name; call it after is_valid()."""
        which = self.cleaned_data["which"]
        if which == self.ALL:
            return self.offered
        if which == self.SEARCH:
            return search_hosts(self.offered, self.cleaned_data["host_search"])
        return self.offered.filter(pk__in=[host.pk for host in self.cleaned_data["hosts"]])
