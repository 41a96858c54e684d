"""The record of a pair: a private key and its certificate."""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from certs import pair as pem
from certs.certificate_file import public_part
from certs.issue import issue
from certs.models.lease import Queued, free, lease_end, new_token
from certs.signals import pair_finished
from certs.spec import PairSpec
from xmailadmin import audit, vault

__all__ = ["Pair"]

MOST_ATTEMPTS = 3  # a pair that killed its worker this often is given up
# What making a pair fills in.
MADE = (
    "certificate", "certificate_sealed", "key_sealed", "content_sha256", "state", "common_name",
    "names", "sha256", "key_label", "not_before", "not_after",
)  # fmt: skip


class PairManager(models.Manager["Pair"]):
    @transaction.atomic
    def request(self, spec: PairSpec, *, by: HttpRequest | None, memo: str = "") -> Pair:
        """Returns the new QUEUED pair that a worker will make from `spec`."""
        person = by.user if by is not None and by.user.is_authenticated else None
        row = self.create(
            spec=spec.to_json(), common_name=spec.common_name, memo=memo, created_by=person
        )
        audit.record(by, "pair.request", row, common_name=spec.common_name)
        return row

    def adopt(self, key: bytes | None, certificate: bytes | None, *, found_on: str) -> Pair:
        """Returns the record of these files as they lie on a host, made when it is unknown.

        Either file may be missing or unusable: they are kept byte for byte all the same, so that
        nothing that an installation replaces is lost.
        """
        content = content_sha256(key, certificate)
        known = self.filter(content_sha256=content)
        if row := known.first():
            return row
        try:
            with transaction.atomic():
                row = self.create(
                    origin=Pair.Origin.ADOPTED, status=Pair.Status.ISSUED, found_on=found_on
                )
                row.keep(key, certificate)
                # Before it is saved: whoever adopts the same files elsewhere waits here, and
                # not for this row with the end of the audit in hand.
                audit.record(None, "pair.adopt", row, host=found_on)
                row.save()
        except IntegrityError:  # somebody else was quicker
            return known.get()
        return row


class Pair(Queued):
    """A private key and its certificate (chain). The key is sealed; certificates are public."""

    class Status(models.TextChoices):
        QUEUED = "QUEUED", _("Waiting")
        ISSUING = "ISSUING", _("Being made")
        ISSUED = "ISSUED", _("Ready")
        FAILED = "FAILED", _("Failed")

    class Origin(models.TextChoices):
        ISSUED = "ISSUED", _("made here")
        ADOPTED = "ADOPTED", _("found on a host")

    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.QUEUED)
    origin = models.CharField(_("origin"), max_length=8, choices=Origin, default=Origin.ISSUED)
    found_on = models.CharField(_("found on"), max_length=100, blank=True)
    spec = models.JSONField(default=dict, blank=True, editable=False)  # PairSpec.to_json()
    memo = models.TextField(_("memo"), blank=True, max_length=2000)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("made by"),
    )
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    failure = models.CharField(max_length=40, blank=True, editable=False)

    # The certificates, which anybody may see; None when a host had no such file.
    certificate = models.BinaryField(null=True, editable=False)
    # server.cert byte for byte, where it holds anything else: that may be a private key.
    certificate_sealed = models.TextField(blank=True, default="", editable=False)
    key_sealed = models.TextField(blank=True, editable=False)
    content_sha256 = models.CharField(max_length=64, null=True, unique=True, editable=False)

    # What lists search, sort and filter by; every other fact is read from the certificate.
    state = models.CharField(max_length=20, blank=True, editable=False)  # certs.pair.PairState.code
    common_name = models.CharField(_("common name"), max_length=255, blank=True, db_index=True)
    names = models.TextField(_("names"), blank=True, editable=False)
    sha256 = models.CharField(_("fingerprint"), max_length=64, blank=True, db_index=True)
    key_label = models.CharField(_("key"), max_length=20, blank=True)
    not_before = models.DateTimeField(_("valid from"), null=True, blank=True)
    not_after = models.DateTimeField(_("valid until"), null=True, blank=True, db_index=True)

    objects = PairManager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("pair")
        verbose_name_plural = _("pairs")

    def __str__(self) -> str:
        return f"#{self.pk} {self.common_name or self.found_on}"

    def get_absolute_url(self) -> str:
        return reverse("pair_detail", args=[self.pk])

    @property
    def pending(self) -> bool:
        """True while the pair is still to be made."""
        return self.status in (self.Status.QUEUED, self.Status.ISSUING)

    @property
    def usable(self) -> bool:
        """True if XMail can serve the pair: both files are there, readable and matching."""
        return self.status == self.Status.ISSUED and self.state == "ok"

    @property
    def certificate_pem(self) -> bytes | None:
        """The certificates of server.cert and nothing else (empty: none is readable), or None."""
        return None if self.certificate is None else bytes(self.certificate)

    def certificate_file(self) -> bytes | None:
        """Returns server.cert byte for byte, or None; it may hold a key, so it is for hosts alone.

        Raises VaultError if it cannot be opened.
        """
        if not self.certificate_sealed:
            return self.certificate_pem
        return vault.open_sealed(self.certificate_sealed, vault.place(self, "certificate_sealed"))

    def private_key(self) -> bytes | None:
        """Returns the bytes of server.key, or None; raises VaultError if it cannot be opened."""
        if not self.key_sealed:
            return None
        return vault.open_sealed(self.key_sealed, vault.place(self, "key_sealed"))

    def facts(self) -> pem.CertificateFacts | None:
        """Returns every fact of the certificate, or None if there is none that can be read."""
        if not self.certificate:
            return None
        try:
            return pem.facts(bytes(self.certificate))
        except ValueError:
            return None

    def keep(self, key: bytes | None, certificate: bytes | None) -> None:
        """Seals what is secret and fills in what lists show; save() comes after."""
        self.certificate = None if certificate is None else public_part(certificate)
        whole = certificate if certificate != self.certificate else None
        self.certificate_sealed = self._sealed("certificate_sealed", whole)
        self.key_sealed = self._sealed("key_sealed", key)
        self.content_sha256 = content_sha256(key, certificate)
        self.state = pem.check(key, certificate).code
        if facts := self.facts():
            self.common_name = facts.common_name[:255]
            self.names = "\n".join(facts.names)
            self.sha256 = facts.sha256
            self.key_label = facts.key_label
            self.not_before, self.not_after = facts.not_before, facts.not_after

    def _sealed(self, field: str, secret: bytes | None) -> str:
        return "" if secret is None else vault.seal(secret, vault.place(self, field))

    def make(self) -> bool:
        """Makes a queued pair and returns True; False if another worker has it or it is done.

        Safe to call any number of times: the row is claimed first and written only under the claim.
        """
        token = new_token()
        rows = Pair.objects.filter(pk=self.pk, status__in=(self.Status.QUEUED, self.Status.ISSUING))
        if not rows.filter(free()).update(
            status=self.Status.ISSUING,
            token=token,
            lease_until=lease_end(),
            attempts=models.F("attempts") + 1,
        ):
            return False
        self.refresh_from_db()
        gave_up = self.attempts > MOST_ATTEMPTS
        issued = None if gave_up else issue(PairSpec.from_json(self.spec), timezone.now())
        with transaction.atomic():
            # Sealed only when the row is locked: a rotation of the master key waits for that.
            if not rows.filter(token=token).select_for_update(no_key=True).exists():
                return False
            if issued is None:
                done = {"status": self.Status.FAILED, "failure": "attempts"}
            else:
                self.keep(issued.key_pem, issued.certificate_pem)
                done = {name: getattr(self, name) for name in MADE}
                done["status"] = self.Status.ISSUED
            rows.filter(token=token).update(**done, token="", lease_until=None)
            self.refresh_from_db()
            audit.record(None, f"pair.{self.status.lower()}", self)
            transaction.on_commit(lambda: pair_finished.send(Pair, pair=self))
        return True


def content_sha256(key: bytes | None, certificate: bytes | None) -> str:
    """Returns the hash by which the exact files of a pair are recognised.

    Each part is hashed first, so that no two pairs run together into the same bytes.
    """
    parts = [b"-" if part is None else hashlib.sha256(part).digest() for part in (key, certificate)]
    return hashlib.sha256(b"|".join(parts)).hexdigest()
