"""Forms: a deployment, and a new pair that may be installed at once."""

from __future__ import annotations

from crispy_forms.layout import HTML, LayoutObject
from django import forms
from django.utils.translation import gettext_lazy as _

from certs.forms import PairForm
from hosts.choosing import HostChoice

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
    stop_after = forms.IntegerField(
        label=_("Stop after so many failures"),
        help_text=_("Leave empty to try every host, whatever happens on the others."),
        required=False,
        min_value=1,
        max_value=10_000,
        widget=forms.NumberInput(attrs={"class": "form-control", "inputmode": "numeric"}),
    )


class InstallPairForm(PairForm, HostChoice):
    """The form of a new pair, with the choice to install it as soon as it is made."""

    install_now = forms.BooleanField(label=_("Install immediately"), required=False)

    def wants_hosts(self) -> bool:
        return bool(self.cleaned_data.get("install_now"))

    def layout_rows(self) -> list[LayoutObject | str]:
        rows = super().layout_rows()
        choice = HTML('{% include "hosts/install_now.html" %}')
        return [*rows[:-1], choice, rows[-1]]
