"""The form of a host. It looks at the host before it lets anything be saved."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django import forms
from django.conf import settings
from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

from certs.names import Refused
from certs.problems import refusal
from hosts import addresses, mailroot, seen, turns
from hosts.host_names import mixes_letters, refuse_invisible, sameness
from hosts.messages import Message, Param
from hosts.models import Host
from hosts.models.host import CONNECTION, SECRETS, WHEREABOUTS, WHO, one_at_a_time
from hosts.moving import leave_behind
from hosts.probe import Endpoint, EndpointResult
from hosts.registration import Inspection, inspect, shown_identity
from hosts.secret_fields import EXACT, SecretFields
from hosts.transports import (
    REGISTRY,
    Credential,
    Target,
    TransportError,
    normal_fingerprint,
)
from hosts.transports.ssh import parse_jump
from hosts.waiting import wait_for
from hosts.wording import word
from xmailadmin.vault import VaultError

__all__ = ["CONNECTION", "PORTS", "HostForm", "Taken"]

PORTS = (
    "smtp_port",
    "submission_port",
    "smtps_port",
    "pop3_port",
    "pop3s_port",
    "ctrls_port",
)
DESTINATION = ("transport", "address", "port", "jump")  # where secrets go
RECIPIENT = ("trust_fingerprint", "user", "allow_plain_key")  # to whom there, for whom, and how
NAME_TAKEN = _(
    "A host of this name is registered already. Choose another name, or edit that host instead."
)
SHA256 = re.compile(r"[0-9a-f]{64}")


class Taken(Exception):
    """Somebody else has just registered the name or the MailRoot; the form says so."""


class HostForm(SecretFields, forms.ModelForm[Host]):
    """One host; `inspection` says what was found there.

    Secrets are never shown again: what is left empty stays as it is. Whom they are sent to is
    confirmed by a person first: `confirmed` is the fingerprint that was shown and agreed to.
    """

    confirmed = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput())

    class Meta:
        model = Host
        fields = ("name", *CONNECTION, *PORTS, "memo")
        error_messages = {
            "name": {"unique": NAME_TAKEN},
            "transport": {"invalid_choice": _("“%(value)s” is none of: local, sftp, ctrl.")},
            "os": {"invalid_choice": _("“%(value)s” is none of: unix, windows.")},
        }
        labels = {
            "mailroot": _("MailRoot"),
            "transport": _("How the portal reaches it"),
            "address": _("Address"),
            "trust_fingerprint": _("Fingerprint, if you know it"),
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
            "trust_fingerprint": _(
                "SHA-256 of the server's SSH key, or for CTRL of the certificate that it presents "
                "now. Leave it empty to be shown the one that is met, to compare and confirm. "
                "Nothing is sent to a server that shows another one."
            ),
            "jump": _(
                "user@host, if the server is reached only through another one; user@host:port "
                "SHA256:… also checks that one's key."
            ),
            "allow_plain_key": _(
                "Only for a first installation by CTRL over a network that you trust: without a "
                "pair XMail offers no encryption, and whoever listens reads the key."
            ),
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

    #: Whether the host is looked at; "always" also if nothing about the way there was changed.
    looks: bool | str = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.inspection: Inspection | None = None
        #: Says so if a link leads to the MailRoot: the directory itself is registered.
        self.moved: Message | None = None
        #: Says so if the pair on record is not known to be where the host is now.
        self.left_behind: Message | None = None
        self.stored = {name: getattr(self.instance, name) for name in self.Meta.fields}
        self._loaded = self.instance.connection()
        #: What the person was shown of the host, as a digest that the form brings back.
        self.shown = seen.digest(self.instance, self.stored)
        if self.is_bound:
            self.shown = self.data.get("shown", "")
        transport = self.fields["transport"]
        assert isinstance(transport, forms.ChoiceField)  # noqa: S101  for the type checker
        transport.choices = [choice for choice in Host.Transport.choices if choice[0] in REGISTRY]
        for name in PORTS:
            self.fields[name].widget.attrs |= {"min": 0, "max": 65535, "inputmode": "numeric"}
        for name in self.stored_secrets:
            self.fields[name].help_text = _("Leave empty to keep the one that is stored.")
        for name in SECRETS:
            if self.data.get(name):
                self.fields[name].help_text = _(
                    "Enter it again: it is never sent back to the browser."
                )

    @property
    def port_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in PORTS]

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets that were typed in; a new private key brings its passphrase along."""
        typed = {name: self.cleaned_data[name] for name in SECRETS if self.cleaned_data.get(name)}
        if "private_key" in typed:
            typed.setdefault("passphrase", "")
        return typed

    @property
    def changed(self) -> list[str]:
        """The fields of the host, and its secrets, that differ from what is stored."""
        data = self.cleaned_data
        fields = [name for name, value in self.stored.items() if data.get(name) != value]
        return fields + [name for name in SECRETS if data.get(name)]

    @property
    def offered_identity(self) -> str:
        """The fingerprint that a person is asked to compare and confirm; "" if there is none."""
        met = self.inspection.identity if self.inspection is not None else ""
        if not met or self.inspection is None or self.inspection.good:
            return ""
        return met if met != self.cleaned_data.get("trust_fingerprint") else ""

    @property
    def shown_identity(self) -> str:
        """The same as the tools on the server show it."""
        return shown_identity(self.cleaned_data.get("transport") or "", self.offered_identity)

    def clean_name(self) -> str:
        """Refuses a new name that nobody can read, or can tell from another host's."""
        name: str = self.cleaned_data["name"]
        if self._readable("name") != self.stored["name"]:
            self._refuse_namesake(name)
        return name

    def clean_user(self) -> str:
        """Refuses what no account is called: the history and the audit name it, line by line."""
        return self._readable("user")

    def _readable(self, field: str) -> str:
        """Returns what was typed in; refuses a new name with something in it that nobody sees."""
        text: str = self.cleaned_data[field]
        try:
            if text != self.stored[field]:
                refuse_invisible(text)
        except Refused as refused:
            raise refusal(refused) from None
        return text

    def _refuse_namesake(self, name: str) -> None:
        if other := self.namesake(name):
            text = _("This name looks like that of the host %(name)s. Choose another name.")
            raise forms.ValidationError(text % {"name": other})

    def namesake(self, name: str) -> str | None:
        """Returns another host's name that people would take for this one, though it is not."""
        others = Host.objects.exclude(pk=self.instance.pk).values_list("name", flat=True)
        alike = sameness(name)
        return next((other for other in others if name != other and sameness(other) == alike), None)

    def clean_jump(self) -> str:
        jump: str = self.cleaned_data["jump"]
        try:
            if jump:
                parse_jump(jump)
        except TransportError as error:
            raise forms.ValidationError(word(error.message)) from None
        return jump

    def clean_address(self) -> str:
        try:
            parsed = addresses.parse(self.cleaned_data["address"])
            if not isinstance(parsed, str):
                addresses.check_ip(parsed, settings.ALLOWED_NETWORKS)
        except addresses.AddressError as error:
            raise forms.ValidationError(word(error.message)) from None
        return str(getattr(parsed, "ipv4_mapped", None) or parsed)

    def clean_trust_fingerprint(self) -> str:
        written = normal_fingerprint(self.cleaned_data["trust_fingerprint"])
        if written and not SHA256.fullmatch(written):
            raise forms.ValidationError(
                _("This is no SHA-256 fingerprint: 64 hexadecimal digits, or SHA256:… as SSH does.")
            )
        return written

    def clean(self) -> dict[str, Any] | None:
        data = super().clean()
        saves_over = not self.instance._state.adding and self.looks != "always"
        if saves_over and not seen.is_still_so(self.shown, self.instance, self.stored):
            self.tell_changed(self.instance)
            return data
        self._settle_identity()
        if text := self._why_enter_again():
            for name in self.stored_secrets:
                if not self.secrets.get(name):
                    self.add_error(name, text)
        if not self.errors.keys() & {*CONNECTION, *SECRETS}:
            self._check_mailroot()
        return data

    def tell_changed(self, newest: Host) -> None:
        """Says that somebody changed the host; whoever has read that may save all the same."""
        self.add_error(None, word(Message("registration.changed_meanwhile")))
        self.shown = seen.digest(newest, self.stored)

    def _settle_identity(self) -> None:
        """What was shown and confirmed counts more than what the field still says."""
        confirmed = normal_fingerprint(self.cleaned_data.get("confirmed") or "")
        if SHA256.fullmatch(confirmed):
            self.cleaned_data["trust_fingerprint"] = confirmed
        if self.cleaned_data.get("transport") == Host.Transport.LOCAL:
            self.cleaned_data["trust_fingerprint"] = ""

    @property
    def stored_secrets(self) -> list[str]:
        """The names of the secrets that the host has already."""
        return [name for name in SECRETS if getattr(self.instance, f"{name}_sealed")]

    def _why_enter_again(self) -> str:
        """Says why stored secrets are not sent: who may edit may not therefore read.

        A look sends them before anything is saved and on record, so only as is registered.
        """
        if self.instance._state.adding or self.cleaned_data.get("transport") == "local":
            return ""
        if self._differs(DESTINATION):
            return str(_("Enter it again, because it would go to another place than before."))
        if self._differs(RECIPIENT):
            text = _(
                "Enter it again, because what is stored is sent only to the identity, for the "
                "user and as encrypted as is registered."
            )
            return str(text)
        return ""

    def _differs(self, names: Iterable[str]) -> bool:
        now = self.cleaned_data
        return any(name in now and now[name] != self.stored[name] for name in names)

    def _check_mailroot(self) -> None:
        data = self.cleaned_data
        local = data["transport"] == Host.Transport.LOCAL
        path = data.get("mailroot", "").strip()
        if path.startswith("/") and not local:  # one path is written in one way
            path = re.sub("/{2,}", "/", path).rstrip("/") or "/"
        data["mailroot"] = path
        optional = data["transport"] == Host.Transport.CTRL and not path
        problem = None if optional else mailroot.check_path(path, data["os"])
        if problem is None and local:
            problem = self._settle_place(path)
            path = data["mailroot"]
        if problem is not None:
            self.add_error("mailroot", word(problem))
        elif local and not mailroot.lies_within(path, map(str, settings.MAILROOT_BASES)):
            self.add_error("mailroot", _("The portal may not use this directory."))
        elif self._has_no_twin(path) and self._worth_a_look():
            self._look(path)

    def _settle_place(self, path: str) -> Message | None:
        """Registers where a local MailRoot really is; a link put there later is not followed."""
        real = mailroot.real_path(path)
        if os.path.normcase(real) != os.path.normcase(os.path.normpath(path)):
            where: dict[str, Param] = {"path": path, "real": real}
            if self.instance.pk and path == self.stored["mailroot"]:
                return Message("transport.mailroot_moved", {"mailroot": path, "real": real})
            self.moved = Message("registration.real_path", where)
        self.cleaned_data["mailroot"] = real
        return mailroot.check_path(real, self.cleaned_data["os"])

    def _worth_a_look(self) -> bool:
        if not self.looks or self.looks == "always":
            return bool(self.looks)
        return not self.instance.pk or bool({*CONNECTION, *SECRETS} & set(self.changed))

    def _has_no_twin(self, path: str) -> bool:
        """False, and the form says so, if another host has this MailRoot."""
        asked = {name: self.cleaned_data[name] for name in WHEREABOUTS} | {"mailroot": path}
        twin = self.twin(Host(pk=self.instance.pk, **asked))
        if twin and asked["transport"] == Host.Transport.CTRL:  # by its address: it knows its path
            text = _("This host is already registered as %(name)s.") % {"name": twin}
            self.add_error("address", text)
        elif twin:
            text = _("This MailRoot is already registered as %(name)s.") % {"name": twin}
            self.add_error("mailroot", text)
        return not twin

    def twin(self, host: Host) -> str | None:
        """Returns the name of another host with the MailRoot of this one."""
        return host.twin()

    def _look(self, path: str) -> None:
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
            clear_recovery=settings.CTRL_CLEAR_RECOVERY,
            allowed_networks=settings.ALLOWED_NETWORKS,
            mailroot_bases=tuple(map(str, settings.MAILROOT_BASES)),
        )
        ports = [(name, data.get(name)) for name in PORTS]
        endpoints = [Endpoint(name.removesuffix("_port"), port) for name, port in ports if port]
        self.inspection = wait_for(inspect(target, endpoints))
        if self.inspection.problem is not None:
            local = data["transport"] == Host.Transport.LOCAL
            self.add_error("mailroot" if local else None, word(self.inspection.problem))

    def save(self, commit: bool = True) -> Host:
        """Writes what was changed and nothing else: meanwhile an installation may have begun.

        Raises ChangedMeanwhile: the look at the host, which may take a minute, was at what was
        loaded, and so was what decided which secrets had to be entered again. Raises Taken if
        another host has the name or the MailRoot since then, Host.DoesNotExist if it was deleted,
        and turns.Begun where an installation has begun and the host would be at another place or
        somebody else.
        """
        try:
            with one_at_a_time():
                self._look_who_has_it()
                return self._write(commit)
        except IntegrityError:
            self.add_error("name", NAME_TAKEN)
            raise Taken from None

    def _look_who_has_it(self) -> None:
        """Raises Taken, and the form says so, if another host has the name or MailRoot by now.

        clean() has looked as well; what is seen here stays true, for others wait. Equal names are
        what the database refuses.
        """
        name, path = self.cleaned_data["name"], self.cleaned_data["mailroot"]
        try:
            if name != self.stored["name"]:
                self._refuse_namesake(name)
        except forms.ValidationError as error:
            self.add_error("name", error)
        self._has_no_twin(path)
        if self.errors:
            raise Taken

    def _write(self, commit: bool) -> Host:
        if self.instance._state.adding:
            host = super().save(commit)
        else:
            host = self.instance
            before = Host(**{name: self.stored[name] for name in CONNECTION})
            others, moved = self._differs(WHO), before.place_digest != host.place_digest
            if others or moved:
                turns.locked(host)
                turns.leave(host)
            host.lock(self._loaded)
            if others:
                turns.end_waiting(host)
            if moved:
                met = self.inspection.certificate if self.inspection is not None else ""
                self.left_behind = leave_behind(host, before, met)
            host.save(update_fields=[name for name in self.changed if name in self.stored])
        if self.secrets:
            host.keep_secrets(**self.secrets)
        return host

    @property
    def presented(self) -> list[EndpointResult]:
        """What the host's services presented meanwhile."""
        return self.inspection.endpoints if self.inspection is not None else []

    @property
    def remarks(self) -> list[Message]:
        """What is worth knowing of what was typed in."""
        name = self.cleaned_data.get("name") or ""
        remarks = [self.moved] if self.moved is not None else []
        if name != self.stored["name"] and mixes_letters(name):
            remarks.append(Message("registration.mixed_letters", {"name": name}))
        return [*remarks, self.left_behind] if self.left_behind is not None else remarks

    @property
    def found(self) -> list[Message]:
        """What the look at the host found."""
        return self.remarks + (self.inspection.found if self.inspection is not None else [])
