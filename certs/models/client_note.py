"""What the team knows about mail clients, and copies of it kept with history."""

from __future__ import annotations

from datetime import date, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _


class Protocol(models.TextChoices):
    SMTP = "SMTP", _("SMTP (sending)")
    POP3 = "POP3", _("POP3 (receiving)")


class Security(models.TextChoices):
    ANY = "any", _("STARTTLS/STLS and implicit TLS")
    STARTTLS = "starttls", _("STARTTLS/STLS")
    IMPLICIT = "implicit", _("Implicit TLS")


class CertificateKind(models.TextChoices):
    """Kinds of certificate that clients were seen to treat differently."""

    ANY = "any", _("Any certificate")
    SELF_SIGNED = "self-signed", _("Self-signed, of any kind")
    SELF_SIGNED_SAN = "self-signed-san", _("Self-signed, RSA-2048, with host names (SAN), CA:FALSE")
    SANCA = "sanca", _("Self-signed, with host names (SAN), CA:TRUE")
    NOSAN = "nosan", _("Self-signed, without host names (no SAN)")
    MISMATCH = "mismatch", _("For another host name")
    EXPIRED = "expired", _("Expired")
    PRIVATE_CA = "private-ca", _("Signed by a private certificate authority")
    ECDSA = "ecdsa", _("Self-signed, ECDSA P-256")
    RSA_4096 = "rsa-4096", _("Self-signed, RSA-4096")
    RSA_1024 = "rsa-1024", _("Self-signed, RSA-1024")
    RSA_1024_SECLEVEL1 = (
        "rsa-1024-seclevel1",
        _("Self-signed, RSA-1024, XMail started with OpenSSL security level 1"),
    )


class Mark(models.TextChoices):
    """The seed page's marks, and one for a client that has no such function."""

    GOOD = "good", _("Works without problems")
    PARTIAL = "partial", _("Works depending on a setting")
    NONE = "none", _("Does not work")
    ABSENT = "absent", _("No such function")


SIGNS: dict[str, str] = {Mark.GOOD: "◎", Mark.PARTIAL: "△", Mark.NONE: "×", Mark.ABSENT: "–"}


class Verify(models.TextChoices):
    """How a client was set while it was tried."""

    DEFAULT = "default", _("As installed")
    TRUSTED = "trusted", _("On, the certificate trusted")
    OFF = "off", _("Off, or the certificate accepted when asked")


class Source(models.TextChoices):
    SEED = "seed", _("From the original page")
    MEASURED = "measured", _("Measured")
    REPORTED = "reported", _("Reported by a person")


class ClientNote(models.Model):
    """How one mail client behaves with one kind of certificate over one protocol.

    `edited_at` is set whenever a person changes the note; shipped data then leaves it alone.
    """

    # Stable across releases: shipped data finds its own row again by it.
    key = models.SlugField(max_length=120, unique=True)
    client = models.CharField(max_length=100)
    client_ja = models.CharField(max_length=100, blank=True)  # only where the name differs
    client_slug = models.SlugField(max_length=60)
    version = models.CharField(max_length=100, blank=True)
    version_ja = models.CharField(max_length=100, blank=True)  # only where the text differs
    os = models.CharField(max_length=60)
    protocol = models.CharField(max_length=4, choices=Protocol.choices)
    security = models.CharField(max_length=8, choices=Security.choices, default=Security.ANY)
    certificate_kind = models.CharField(
        max_length=24, choices=CertificateKind.choices, default=CertificateKind.ANY
    )
    mark = models.CharField(max_length=8, choices=Mark.choices)
    remark_en = models.TextField(blank=True)
    remark_ja = models.TextField(blank=True)
    setting_en = models.TextField(blank=True)
    setting_ja = models.TextField(blank=True)
    # [{"verify": default|off|trusted, "result": ok|fail, "message", "setting", "variant"}, …]
    results = models.JSONField(default=list, blank=True)
    source = models.CharField(max_length=8, choices=Source.choices)
    source_detail = models.CharField(max_length=200, blank=True)
    measured_on = models.DateField(null=True, blank=True)
    confirmed_on = models.DateField(null=True, blank=True)  # a person saw that it still holds
    historical = models.BooleanField(default=False)
    for_mail_users = models.BooleanField(default=False)  # on public pages, for everybody to read
    position = models.PositiveSmallIntegerField(default=0)  # order inside its operating system
    edited_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["historical", "-os", "position", "key"]
        indexes: ClassVar = [
            models.Index(fields=["historical", "os", "position"], name="client_note_table"),
            models.Index(fields=["certificate_kind", "protocol"], name="client_note_kind"),
            models.Index(fields=["client_slug"], name="client_note_client"),
        ]

    def __str__(self) -> str:
        return f"{self.client} {self.version} ({self.os}) {self.protocol} {self.sign}"

    def get_absolute_url(self) -> str:
        return reverse("client_note_detail", args=[self.pk])

    @property
    def sign(self) -> str:
        """The mark as the tables draw it: ◎ △ × –."""
        return SIGNS[self.mark]

    @property
    def client_name(self) -> str:
        return self._worded(self.client, self.client_ja)

    @property
    def version_text(self) -> str:
        return self._worded(self.version, self.version_ja)

    @property
    def remark(self) -> str:
        return self._worded(self.remark_en, self.remark_ja)

    @property
    def setting(self) -> str:
        return self._worded(self.setting_en, self.setting_ja)

    @property
    def known_on(self) -> date:
        """The day on which somebody last saw that the note holds."""
        days = (self.confirmed_on, self.measured_on)
        seen = [day for day in days if day is not None]
        if self.edited_at is not None:
            seen.append(self.edited_at.date())
        return max(seen) if seen else self.created_at.date()

    @property
    def ageing(self) -> bool:
        """True if nobody has confirmed the note for longer than the team allows."""
        if self.historical or self.pk is None:
            return False  # it says itself that it is out of date, or is a copy in a snapshot
        allowed = timedelta(days=settings.NOTE_AGE_DAYS)
        return timezone.now().date() - self.known_on > allowed

    @staticmethod
    def _worded(english: str, japanese: str) -> str:
        """The text in the reader's language, or whichever of the two exists."""
        if (get_language() or "").startswith("ja"):
            return japanese or english
        return english or japanese


class NoteSnapshot(models.Model):
    """The notes that applied to a certificate at one time, stored once per distinct content."""

    sha256 = models.CharField(max_length=64, unique=True)
    content = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.sha256[:16]
