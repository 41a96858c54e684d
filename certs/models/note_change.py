"""What was changed in the client notes: who, when, what it was before and what it is now."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from certs.models.client_note import ClientNote

__all__ = ["NoteChange"]


class NoteChange(models.Model):
    """One change of one note. Rows are only ever added; they outlive the note."""

    class Action(models.TextChoices):
        ADDED = "added", _("Added")
        CORRECTED = "corrected", _("Corrected")
        CONFIRMED = "confirmed", _("Confirmed")
        MEASURED = "measured", _("Measured again")
        REMOVED = "removed", _("Removed")

    note = models.ForeignKey(
        ClientNote, models.SET_NULL, null=True, blank=True, related_name="changes"
    )
    note_key = models.SlugField(max_length=120)
    client_slug = models.SlugField(max_length=60)
    note_name = models.CharField(max_length=300)
    action = models.CharField(max_length=9, choices=Action.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    by_name = models.CharField(max_length=150)  # stays when the person is deleted
    at = models.DateTimeField(auto_now_add=True)
    before = models.JSONField(null=True, blank=True)  # certs.note_changes.fields_of(note)
    after = models.JSONField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["client_slug", "-at"], name="note_change_client"),
        ]

    def __str__(self) -> str:
        return f"{self.note_name}: {self.action}"
