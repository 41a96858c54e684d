"""Forms: a deployment, and a new pair that may be installed at once."""

from __future__ import annotations

from typing import Any

from crispy_forms.layout import HTML, LayoutObject
from django import forms
from django.utils.translation import gettext_lazy as _

from certs.forms import PairForm
from hosts.choosing import HostChoice
from hosts.models import Host

__all__ = ["DeploymentForm", "InstallPairForm"]


class DeploymentForm(HostChoice):
    """On which hosts a pair is installed, and how carefully."""

    place_only = forms.ChoiceField(
        label=_("What to do"),
        choices=[
            ("", _("Install the pair: it is served from the next connection on")),
            ("1", _("Only place it in MailRoot/sslconf, to be installed later")),
        ],
        required=False,
        widget=forms.RadioSelect,
        initial="",
    )
    careful = forms.BooleanField(
        label=_("Begin with one host, and go on only if it succeeds there"), required=False
    )
    first_host = forms.CharField(
        label=_("The host to begin with"),
        help_text=_("Its name; leave empty for the first one by name."),
        required=False,
        max_length=100,
    )
    stop_after = forms.IntegerField(
        label=_("Stop after so many failures"),
        help_text=_("Leave empty to try every host, whatever happens on the others."),
        required=False,
        min_value=1,
        max_value=10_000,
        widget=forms.NumberInput(attrs={"class": "form-control", "inputmode": "numeric"}),
    )

    #: The host that goes alone and must succeed before the others begin.
    first: Host | None = None

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        if self.cleaned_data.get("careful") and not self.errors:
            self._find_first(self.cleaned_data["first_host"].strip())
        return data

    def _find_first(self, name: str) -> None:
        chosen = self.chosen().filter(name=name) if name else self.chosen()
        self.first = chosen.first()
        if self.first is None:
            self.add_error("first_host", _("This is not the name of a host that is chosen above."))


class InstallPairForm(PairForm, HostChoice):
    """The form of a new pair, with the choice to install it as soon as it is made."""

    install_now = forms.BooleanField(label=_("Install immediately"), required=False)

    def wants_hosts(self) -> bool:
        return bool(self.cleaned_data.get("install_now"))

    def layout_rows(self) -> list[LayoutObject | str]:
        rows = super().layout_rows()
        choice = HTML('{% include "hosts/install_now.html" %}')
        return [*rows[:-1], choice, rows[-1]]
