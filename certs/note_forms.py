"""Forms of the client notes: a note, a report from a person, and why a report is dismissed."""

from __future__ import annotations

import hashlib
from typing import Any

from django import forms
from django.db.models import Max
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from certs.models import ClientNote, ClientReport
from certs.models.client_note import CertificateKind, Mark, Source
from certs.names import Refused, normalise_lines, normalise_text
from certs.note_changes import LABELS, fields_of, one_line_end, own_key
from certs.problems import refusal

__all__ = ["DismissForm", "NoteForm", "ReportForm", "position_of", "slug_for"]

ROWS = {"rows": "3"}
TEXTS = {"remark_en", "remark_ja", "setting_en", "setting_ja"}  # they may have several lines
KNOWN_CLIENTS, KNOWN_SYSTEMS = "known-clients", "known-systems"  # ids of the suggestions


class _Suggesting(forms.ModelForm):  # type: ignore[type-arg]  # the two forms name their models
    """Suggests the clients and operating systems that are known; any other may be written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["client"].widget.attrs["list"] = KNOWN_CLIENTS
        self.fields["os"].widget.attrs["list"] = KNOWN_SYSTEMS

    def clean(self) -> dict[str, Any]:
        """Takes no character that nobody sees or that turns text round: many read what few write,
        and the audit names it."""
        data = super().clean() or {}
        for bound in self.visible_fields():
            field, text = bound.field, data.get(bound.name)
            if isinstance(field, forms.CharField) and text:
                try:
                    data[bound.name] = (
                        normalise_lines(text)
                        if isinstance(field.widget, forms.Textarea)
                        else normalise_text(text, field.max_length or len(text))
                    )
                except Refused as refused:
                    self.add_error(bound.name, refusal(refused))
        return data

    @property
    def known_clients(self) -> list[str]:
        names = ClientNote.objects.order_by("client").values_list("client", flat=True)
        return list(names.distinct())

    @property
    def known_systems(self) -> list[str]:
        return list(ClientNote.objects.order_by("os").values_list("os", flat=True).distinct())


class NoteForm(_Suggesting):
    """One note. `seen` is the state that the person saw: nobody overwrites another's correction."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = ClientNote
        fields = (
            "client", "client_ja", "version", "version_ja", "os", "protocol", "security",
            "certificate_kind", "mark", "remark_en", "remark_ja", "setting_en", "setting_ja",
            "source", "source_detail", "measured_on", "historical", "for_mail_users",
        )  # fmt: skip
        labels = {name: LABELS[name] for name in fields}
        help_texts = {
            "client_ja": _("Only where Japanese readers know it by another name."),
            "version_ja": _("Only where the text differs."),
            "remark_en": _("What happens, with the exact message. One language is enough."),
            "setting_en": _(
                "What to change and where it is, one setting a line, the safest first."
            ),
            "source_detail": _("Who measured or reported it, and how."),
            "historical": _("It stays readable, but nobody is told to follow it."),
            "for_mail_users": _(
                "Everybody with the link of a page for mail users then reads the remark and what "
                "to set, if the note is measured and fits the certificate."
            ),
        }
        widgets = {
            **{name: forms.Textarea(attrs=ROWS) for name in sorted(TEXTS)},
            "measured_on": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = fields_of(self.instance) if self.instance.pk else None
        if self.instance.pk:
            self.initial["seen"] = self.instance.updated_at.isoformat()
        source = self.fields["source"]
        assert isinstance(source, forms.ChoiceField)  # noqa: S101  for the type checker
        if self.instance.source != Source.SEED:
            source.choices = [c for c in Source.choices if c[0] != Source.SEED]
            self.initial.setdefault("source", Source.MEASURED)
            self.initial.setdefault("measured_on", timezone.localdate())
        if not self.instance.pk:
            self.initial.setdefault("certificate_kind", CertificateKind.SELF_SIGNED_SAN)

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        for name in TEXTS & data.keys():
            data[name] = one_line_end(data[name])
        if self.instance.pk and data.get("seen") != self.initial["seen"]:
            raise forms.ValidationError(
                _(
                    "Somebody else changed this note meanwhile. "
                    "Open it again and repeat your change."
                )
            )
        settings = ("setting_en", "setting_ja")
        if data.get("mark") == Mark.PARTIAL and not any(
            data.get(name) or name in self.errors for name in settings
        ):
            self.add_error("setting_en", _("Write what has to be set, in one of the languages."))
        seen = data.get("measured_on") or "measured_on" in self.errors
        if data.get("source") in (Source.MEASURED, Source.REPORTED) and not seen:
            self.add_error("measured_on", _("Write the day on which it was seen."))
        if (day := data.get("measured_on")) and day > timezone.localdate():
            self.add_error("measured_on", _("This day is in the future."))
        return data

    def prepare(self) -> ClientNote:
        """Returns the note, not saved, with what nobody has to fill in."""
        note: ClientNote = self.save(commit=False)
        if not note.pk:
            note.client_slug = slug_for(note.client)
            note.position = position_of(note)
            note.key = own_key(note)
        return note


def slug_for(client: str) -> str:
    """Returns the address of the client's page: that of the client of this name, or a new one."""
    same = ClientNote.objects.filter(client__iexact=client) | ClientNote.objects.filter(
        client_ja__iexact=client
    )
    if known := same.values_list("client_slug", flat=True).first():
        return known
    digest = hashlib.sha256(client.encode()).hexdigest()[:8]
    slug = slugify(client)[:50].strip("-")
    taken = slug in ("notes", "reports", "changes")
    return f"{slug or 'client'}-{digest}" if taken or not slug else slug


def position_of(note: ClientNote) -> int:
    """Returns where the note stands in its table: with its client, or last."""
    table = ClientNote.objects.filter(os=note.os, historical=note.historical)
    same = table.filter(client_slug=note.client_slug).values_list("position", flat=True).first()
    if same is not None:
        return same
    last = table.aggregate(last=Max("position"))["last"]
    return 0 if last is None else min(last + 1, 32767)


class ReportForm(_Suggesting):
    """It worked, or it did not, with this version."""

    worked = forms.ChoiceField(
        label=_("What happened?"),
        choices=[("yes", _("It worked")), ("no", _("It did not work"))],
        widget=forms.RadioSelect,
    )

    class Meta:
        model = ClientReport
        fields = (
            "client", "version", "os", "protocol", "security", "certificate_kind", "verify",
            "worked", "message", "setting",
        )  # fmt: skip
        help_texts = {
            "version": _("As the client itself shows it, usually under “About”."),
            "verify": _("How the client was set to verify certificates."),
            "message": _("Word for word, if it said anything."),
        }
        widgets = {
            "message": forms.Textarea(attrs=ROWS),
            "setting": forms.Textarea(attrs=ROWS),
        }

    def clean_worked(self) -> bool:
        return bool(self.cleaned_data["worked"] == "yes")


class DismissForm(forms.Form):
    """Why a report does not become a note."""

    reason = forms.CharField(
        label=_("Reason"),
        help_text=_("It stays with the report, for whoever wonders."),
        max_length=300,
        required=False,
    )
