"""Forms: a host, a deployment, and a new pair that may be installed at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from crispy_forms.layout import HTML, LayoutObject
from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from certs.forms import PairForm
from hosts import addresses, mailroot
from hosts.choosing import HostChoice
from hosts.models import Host
from hosts.registration import Inspection, inspect
from hosts.transports import REGISTRY, Target
from hosts.wording import word

__all__ = ["DeploymentForm", "HostForm", "InstallPairForm"]

PORTS = (
    "smtp_port",
    "submission_port",
    "smtps_port",
    "pop3_port",
    "pop3s_port",
    "ctrls_port",
)


class HostForm(forms.ModelForm[Host]):
    """One host; `inspection` says what was found at its MailRoot."""

    class Meta:
        model = Host
        fields = ("name", "transport", "mailroot", "os", "address", *PORTS, "memo")
        labels = {"mailroot": _("MailRoot"), "address": _("Address of its services")}
        help_texts = {
            "name": _("What your team calls this server."),
            "mailroot": _(
                "The directory that holds XMail's server.tab, for example /var/MailRoot or "
                "C:\\MailRoot."
            ),
            "address": _(
                "Host name or IP address where its services answer; they are tried after every "
                "installation."
            ),
            "memo": _("For your team only."),
            **dict.fromkeys(PORTS, ""),
        }
        widgets = {
            "memo": forms.Textarea(attrs={"rows": 3}),
            "mailroot": forms.TextInput(
                attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
            ),
            "address": forms.TextInput(
                attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inspection: Inspection | None = None
        known = [choice for choice in Host.Transport.choices if choice[0] in REGISTRY]
        transport = self.fields["transport"]
        assert isinstance(transport, forms.ChoiceField)  # noqa: S101  for the type checker
        transport.choices = known
        if len(known) == 1:
            transport.widget = forms.HiddenInput()
        for name in PORTS:
            self.fields[name].widget.attrs |= {"min": 0, "max": 65535, "inputmode": "numeric"}

    @property
    def port_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in PORTS]

    def clean_address(self) -> str:
        try:
            parsed = addresses.parse(self.cleaned_data["address"])
            if not isinstance(parsed, str):
                addresses.check_ip(parsed, settings.ALLOWED_NETWORKS)
        except addresses.AddressError as error:
            raise forms.ValidationError(word(error.message)) from None
        return str(parsed)

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        if not {"mailroot", "os", "transport"} & set(self.errors):
            self._look_at_mailroot()
        return data

    def _look_at_mailroot(self) -> None:
        data = self.cleaned_data
        local = data["transport"] == Host.Transport.LOCAL
        path = data.get("mailroot", "").strip()
        if problem := mailroot.check_path(path, data["os"]):
            self.add_error("mailroot", word(problem))
            return
        if local and _outside_bases(path):
            self.add_error("mailroot", _("The portal may not use this directory."))
            return
        twins = Host.objects.filter(transport=data["transport"], mailroot=path)
        if local and (twin := twins.exclude(pk=self.instance.pk).first()):
            text = _("This MailRoot is already registered as %(name)s.") % {"name": twin.name}
            self.add_error("mailroot", text)
            return
        if local:
            self.inspection = asyncio.run(inspect(self._target(path)))
            if self.inspection.problem is not None:
                self.add_error("mailroot", word(self.inspection.problem))

    def _target(self, path: str) -> Target:
        data = self.cleaned_data
        return Target(
            name=data.get("name") or "",
            transport=data["transport"],
            os=data["os"],
            address=data.get("address") or "",
            mailroot=path,
            allowed_networks=settings.ALLOWED_NETWORKS,
        )


def _outside_bases(path: str) -> bool:
    """True if MailRoots are confined to some directories and this one is in none of them."""
    bases = settings.MAILROOT_BASES
    resolved = Path(path).resolve()
    return bool(bases) and not any(resolved.is_relative_to(base.resolve()) for base in bases)


class DeploymentForm(HostChoice):
    """On which hosts a pair is installed, and how carefully."""

    place_only = forms.TypedChoiceField(
        label=_("What to do"),
        choices=[
            ("", _("Install the pair: it is served from the next connection on")),
            ("1", _("Only place it in MailRoot/sslconf, to be installed later")),
        ],
        coerce=bool,
        empty_value=False,
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
