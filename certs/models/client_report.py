"""What a person tells about a client: it worked, or it did not."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from certs.models.client_note import CertificateKind, ClientNote, Protocol, Security, Verify

__all__ = ["ClientReport"]


class ClientReport(models.Model):
    """A report waits on the review list until the team makes a note of it or dismisses it."""

    class Status(models.TextChoices):
        OPEN = "open", _("To be reviewed")
        ACCEPTED = "accepted", _("Accepted")
        DISMISSED = "dismissed", _("Dismissed")

    client = models.CharField(_("mail client"), max_length=100)
    version = models.CharField(_("version"), max_length=100)
    os = models.CharField(_("operating system"), max_length=60)
    protocol = models.CharField(_("protocol"), max_length=4, choices=Protocol.choices)
    security = models.CharField(
        _("port and security"), max_length=8, choices=Security.choices, default=Security.ANY
    )
    certificate_kind = models.CharField(
        _("certificate"),
        max_length=24,
        choices=CertificateKind.choices,
        default=CertificateKind.SELF_SIGNED,
    )
    verify = models.CharField(
        _("verification"), max_length=8, choices=Verify.choices, default=Verify.DEFAULT
    )
    worked = models.BooleanField(_("it worked"))
    message = models.TextField(_("exact message"), blank=True, max_length=2000)
    setting = models.TextField(_("what had to be set, and where"), blank=True, max_length=2000)

    status = models.CharField(
        max_length=9, choices=Status.choices, default=Status.OPEN, db_index=True
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    reporter = models.CharField(max_length=150)  # stays when the person is deleted
    created_at = models.DateTimeField(auto_now_add=True)
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    note = models.ForeignKey(
        ClientNote, models.SET_NULL, null=True, blank=True, related_name="reports"
    )

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.client} {self.version} ({self.os}) {self.protocol}"
