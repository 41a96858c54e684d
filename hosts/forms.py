"""Forms: a host, a deployment, and a new pair that may be installed at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from crispy_forms.layout import HTML, LayoutObject
from django import forms
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from certs.forms import PairForm
from hosts import addresses, mailroot
from hosts.choosing import HostChoice
from hosts.models import Host
from hosts.models.host import SECRETS
from hosts.registration import Inspection, inspect
from hosts.transports import REGISTRY, Credential, Target, normal_fingerprint
from hosts.wording import word
from xmailadmin.vault import VaultError

__all__ = ["DeploymentForm", "HostForm", "InstallPairForm"]

# A name, path or key is no word: nothing shall correct it or begin it with a capital.
EXACT = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
# What decides how the host is reached and what is met there.
CONNECTION = (
    "transport", "os", "mailroot", "address", "port", "user", "trust_fingerprint", "jump",
    "allow_plain_key",
)  # fmt: skip
PORTS = (
    "smtp_port",
    "submission_port",
    "smtps_port",
    "pop3_port",
    "pop3s_port",
    "ctrls_port",
)
PLACE = ("transport", "address", "port", "trust_fingerprint", "jump")  # where secrets go


class HostForm(forms.ModelForm[Host]):
    """One host; `inspection` says what was found at its MailRoot.

    Secrets are never shown again: what is left empty stays as it is.
    """

    password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    private_key = forms.CharField(
        label=_("Private SSH key"),
        help_text=_("In PEM or OpenSSH form; instead of a password."),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", **EXACT}),
    )
    passphrase = forms.CharField(
        label=_("Passphrase of the private SSH key"),
        required=False,
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = Host
        fields = ("name", *CONNECTION, *PORTS, "memo")
        labels = {
            "mailroot": _("MailRoot"),
            "transport": _("How the portal reaches it"),
            "address": _("Address"),
        }
        help_texts = {
            "name": _("What your team calls this server."),
            "mailroot": _(
                "The directory that holds XMail's server.tab, for example /var/MailRoot or "
                "C:\\MailRoot."
            ),
            "address": _(
                "Host name or IP address of the server; its services are tried there after every "
                "installation."
            ),
            "port": _("Leave empty for the usual one: 22 for SFTP, 6017 for CTRL."),
            "trust_fingerprint": _(
                "SHA-256 of the host's SSH key, or for CTRL of the certificate that it serves now. "
                "Nothing is sent to a host that shows another one."
            ),
            "jump": _("user@host, if the host is reached only through another one."),
            "memo": _("For your team only."),
            **dict.fromkeys(PORTS, ""),
        }
        widgets = {
            "memo": forms.Textarea(attrs={"rows": 3}),
            **{
                name: forms.TextInput(attrs=EXACT)
                for name in ("mailroot", "address", "user", "jump", "trust_fingerprint")
            },
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inspection: Inspection | None = None
        transport = self.fields["transport"]
        assert isinstance(transport, forms.ChoiceField)  # noqa: S101  for the type checker
        transport.choices = [choice for choice in Host.Transport.choices if choice[0] in REGISTRY]
        for name in PORTS:
            self.fields[name].widget.attrs |= {"min": 0, "max": 65535, "inputmode": "numeric"}
        for name in self.stored_secrets:
            self.fields[name].help_text = _("Leave empty to keep the one that is stored.")

    @property
    def port_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in PORTS]

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets that were typed in."""
        return {name: self.cleaned_data[name] for name in SECRETS if self.cleaned_data.get(name)}

    def clean_address(self) -> str:
        try:
            parsed = addresses.parse(self.cleaned_data["address"])
            if not isinstance(parsed, str):
                addresses.check_ip(parsed, settings.ALLOWED_NETWORKS)
        except addresses.AddressError as error:
            raise forms.ValidationError(word(error.message)) from None
        return str(parsed)

    def clean_trust_fingerprint(self) -> str:
        return normal_fingerprint(self.cleaned_data["trust_fingerprint"])

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        if self._redirects_secrets():
            text = _("Enter it again, because it would go to another place than before.")
            for name in self.stored_secrets:
                if not self.secrets.get(name):
                    self.add_error(name, text)
        if not self.errors.keys() & {*CONNECTION, *SECRETS}:
            self._check_mailroot()
        return data

    @property
    def stored_secrets(self) -> list[str]:
        """The names of the secrets that the host has already."""
        return [name for name in SECRETS if getattr(self.instance, f"{name}_sealed")]

    def _redirects_secrets(self) -> bool:
        """True if stored secrets would be sent elsewhere: who may edit may not therefore read."""
        now = self.cleaned_data
        return self.instance.pk is not None and any(
            name in now and now[name] != self.initial[name] for name in PLACE
        )

    def _check_mailroot(self) -> None:
        data = self.cleaned_data
        local = data["transport"] == Host.Transport.LOCAL
        path = data.get("mailroot", "").strip()
        optional = data["transport"] == Host.Transport.CTRL and not path
        problem = None if optional else mailroot.check_path(path, data["os"])
        if problem is not None:
            self.add_error("mailroot", word(problem))
        elif local and _outside_bases(path):
            self.add_error("mailroot", _("The portal may not use this directory."))
        elif twin := self._twin(path):
            text = _("This MailRoot is already registered as %(name)s.") % {"name": twin.name}
            self.add_error("mailroot", text)
        elif not self.instance.pk or {*CONNECTION, *SECRETS} & set(self.changed_data):
            self._look_at_mailroot(path)

    def _twin(self, path: str) -> Host | None:
        """Returns another host with the same MailRoot in the same place."""
        data = self.cleaned_data
        twins = Host.objects.filter(transport=data["transport"], mailroot=path)
        if data["transport"] != Host.Transport.LOCAL:
            twins = twins.filter(address=data["address"], port=data.get("port"))
        return twins.exclude(pk=self.instance.pk).first()

    def _look_at_mailroot(self, path: str) -> None:
        data = self.cleaned_data
        try:
            stored = self.instance.target().credential if self.instance.pk else Credential()
        except VaultError:
            stored = Credential()
        target = Target(
            name=data.get("name") or "",
            transport=data["transport"],
            os=data["os"],
            address=data["address"],
            port=data.get("port"),
            user=data["user"],
            mailroot=path,
            credential=replace(stored, **self.secrets),
            trust_fingerprint=data["trust_fingerprint"],
            jump=data["jump"],
            allow_plain_key=data["allow_plain_key"],
            allowed_networks=settings.ALLOWED_NETWORKS,
        )
        self.inspection = asyncio.run(inspect(target))
        if self.inspection.problem is not None:
            local = data["transport"] == Host.Transport.LOCAL
            self.add_error("mailroot" if local else None, word(self.inspection.problem))

    @transaction.atomic
    def save(self, commit: bool = True) -> Host:
        host = super().save(commit)
        if self.secrets:
            host.keep_secrets(**self.secrets)
        return host


def _outside_bases(path: str) -> bool:
    """True if MailRoots are confined to some directories and this one is in none of them."""
    bases = settings.MAILROOT_BASES
    resolved = Path(path).resolve()
    return bool(bases) and not any(resolved.is_relative_to(base.resolve()) for base in bases)


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
