"""Forms of the page for mail users: what it says, and a change to announce."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from certs import names
from certs.clients import covers
from certs.models import Pair
from certs.problems import refusal
from hosts.models import ReaderPage

__all__ = ["AnnounceForm", "ReaderForm"]

EXACT = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
PAIRS_OFFERED = 50
NAMES_SHOWN = 50
# Names that servers have and mail addresses do not: mail.example.jp is for taro@example.jp.
SERVER_LABELS = ("mail", "smtp", "pop", "pop3", "mx", "post")


class ReaderForm(forms.ModelForm[ReaderPage]):
    """What everybody who has the link will read. Names must be among the certificate's."""

    class Meta:
        model = ReaderPage
        fields = ("server_name", "sending_name", "user_name", "mail_domain", "contact")
        help_texts = {
            "server_name": _("As people enter it. The certificate must hold it."),
            "sending_name": _("Only if another name is used for sending."),
            "mail_domain": _("What their mail addresses have after the @."),
            "contact": _(
                "Everybody who has the link can read it: a telephone number or a desk, for "
                "example. May stay empty."
            ),
        }
        widgets = {
            **{
                name: forms.TextInput(attrs=EXACT)
                for name in ("server_name", "sending_name", "mail_domain")
            },
            "user_name": forms.RadioSelect,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        pair = self.instance.current_pair()
        self.names = pair.names.splitlines() if pair is not None else []
        if not self.instance.server_name:
            self.initial.update(_offer(pair, self.names))

    def clean_server_name(self) -> str:
        return self._held(self.cleaned_data["server_name"])

    def clean_sending_name(self) -> str:
        name = self.cleaned_data["sending_name"]
        return self._held(name) if name else ""

    def clean_mail_domain(self) -> str:
        domain = _normal(self.cleaned_data["mail_domain"].lstrip("@"))
        if names.is_ip_address(domain) or domain.startswith("*."):
            raise ValidationError(_("Enter the domain of the mail addresses, such as example.jp."))
        return domain

    def clean_contact(self) -> str:
        try:
            return names.normalise_text(self.cleaned_data["contact"], 200)
        except names.Refused as refused:
            raise refusal(refused) from None

    def _held(self, raw: str) -> str:
        name = _normal(raw)
        if name.startswith("*.") or not covers(self.names, name):
            raise ValidationError(
                _("The certificate does not hold this name. It holds: %(names)s"),
                params={"names": ", ".join(self.names[:NAMES_SHOWN])},
            )
        return name


class AnnounceForm(forms.Form):
    """The pair that will be installed, and when."""

    pair = forms.ModelChoiceField(
        label=_("New pair"),
        queryset=Pair.objects.none(),
        empty_label=None,
        help_text=_("It must be made already, so that its fingerprint can be told."),
    )
    day = forms.DateField(
        label=_("Day of the change"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def __init__(self, page: ReaderPage, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        now = page.current_pair()
        usable = Pair.objects.filter(status=Pair.Status.ISSUED, state="ok")
        others = usable.exclude(sha256=now.sha256 if now is not None else "")
        offered = others.order_by("-pk").values_list("pk", flat=True)[:PAIRS_OFFERED]
        field = self.fields["pair"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  for the type checker
        field.queryset = pairs = Pair.objects.filter(pk__in=list(offered)).order_by("-pk")
        # Offered first is one that people can go on with: the newest may be for another server.
        told = {page.server_name, page.sending_name or page.server_name}
        self.initial["pair"] = next(
            (each for each in pairs if all(covers(each.names.splitlines(), it) for it in told)),
            None,
        )
        self.fields["day"].widget.attrs["min"] = timezone.localdate().isoformat()
        if (planned := page.planned_pair()) is not None:
            self.initial = {"pair": planned, "day": page.change_on}
        self.page = page

    @property
    def possible(self) -> bool:
        """True if there is a pair to announce."""
        field = self.fields["pair"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  for the type checker
        return bool(field.queryset is not None and field.queryset.exists())

    def clean_day(self) -> Any:
        day = self.cleaned_data["day"]
        if day < timezone.localdate():
            raise ValidationError(_("This day is past. Enter today or a later day."))
        return day

    def clean_pair(self) -> Pair:
        pair: Pair = self.cleaned_data["pair"]
        known = (self.page.server_name, self.page.sending_name or self.page.server_name)
        if missing := [name for name in known if not covers(pair.names.splitlines(), name)]:
            raise ValidationError(
                _("This pair does not hold the name %(name)s, which the page tells people."),
                params={"name": missing[0]},
            )
        return pair


def _offer(pair: Pair | None, held: list[str]) -> dict[str, str]:
    """Returns what the form suggests: names of the certificate only, never the host's address."""
    whole = [name for name in held if not name.startswith("*.")]
    host_names = [name for name in whole if not names.is_ip_address(name)]
    server = next(iter(host_names or whole), "")
    facts = pair.facts() if pair is not None else None
    if facts is not None and facts.emails:
        return {"server_name": server, "mail_domain": facts.emails[0].rpartition("@")[2]}
    first, _dot, rest = server.partition(".")
    strip = first.rstrip("0123456789-") in SERVER_LABELS and "." in rest
    domain = rest if strip else server
    return {
        "server_name": server,
        "mail_domain": "" if names.is_ip_address(domain) else domain,
    }


def _normal(raw: str) -> str:
    try:
        return names.normalise_name(raw)
    except names.Refused as refused:
        raise refusal(refused) from None
