"""People, how they come in, and the record of what they did."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta
from typing import Any, NoReturn

from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from xmailadmin.roles import PERMISSIONS, Role, roles_of

LINK_AGE = timedelta(hours=72)
SESSION_SALT = "xmailadmin.session"


# What stands for the portal, or for nobody, on record or on a page; and a name of signs alone.
RESERVED_NAMES = frozenset(
    {"", "system", "portal", "theportal", "theportalitself", "xmailadmin", "nobody"}
)


def refuse_reserved_name(name: str) -> None:
    """Raises ValidationError for a name that reads as the portal itself, whatever signs are in."""
    letters = re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", name).casefold())
    if letters in RESERVED_NAMES:
        raise ValidationError(_("This name would read as the portal itself. Choose another one."))


class User(AbstractUser):
    """A member of the team."""

    # Part of what each session, and each sign-in that waits, is compared with: one more ends all.
    sessions_ended = models.PositiveIntegerField(default=0, editable=False)

    class Meta(AbstractUser.Meta):
        permissions = PERMISSIONS

    def clean(self) -> None:
        super().clean()
        if self._state.adding:
            refuse_reserved_name(self.username)

    def check_password(self, raw_password: str | None) -> bool:
        """As Django does; an outdated hash is renewed unless another was set meanwhile."""
        before = self.password

        def renew(password: str) -> None:
            self.set_password(password)
            User.objects.filter(pk=self.pk, password=before).update(password=self.password)

        return check_password(raw_password or "", before, renew)

    def as_read(self) -> models.QuerySet[User]:
        """Returns the account, or none if what sessions depend on was changed since it was read."""
        return User.objects.filter(
            pk=self.pk, is_active=True, password=self.password, sessions_ended=self.sessions_ended
        )

    def _get_session_auth_hash(self, secret: str | bytes | None = None) -> str:
        ours = f"{self.password}:{self.sessions_ended}"
        return salted_hmac(SESSION_SALT, ours, secret=secret, algorithm="sha256").hexdigest()

    def get_absolute_url(self) -> str:
        return reverse("person_detail", args=[self.pk])

    @property
    def roles(self) -> list[Role]:
        """The person's roles, in their fixed order."""
        return roles_of(self)


class AccessLink(models.Model):
    """A one-time link by which a person chooses a password; only the token's hash is kept."""

    user = models.OneToOneField(User, models.CASCADE, related_name="access_link")
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    made_at = models.DateTimeField(default=timezone.now)
    made_by_name = models.CharField(max_length=150)

    def __str__(self) -> str:
        return self.user.get_username()

    @property
    def ends_at(self) -> Any:
        """When the link stops working."""
        return self.made_at + LINK_AGE

    @property
    def valid(self) -> bool:
        """True while the link works."""
        return timezone.now() < self.ends_at and self.user.is_active


class AuthenticatorSecret(models.Model):
    """The secret of an authenticator app, or of recovery codes; allauth's row holds our number."""

    secret_sealed = models.TextField(editable=False)

    def __str__(self) -> str:
        return str(self.pk)


class AuditRows(models.QuerySet["AuditEntry"]):
    """Refuses what would change rows behind the chain's back."""

    def update(self, **_kwargs: Any) -> NoReturn:
        raise TypeError("Audit entries are never changed.")

    def delete(self) -> NoReturn:
        raise TypeError("Audit entries are never deleted.")


class AuditEntry(models.Model):
    """One thing that somebody did, or was refused. Rows are only ever added, by audit.record()."""

    # The chain: each row's hash covers all of it and the hash of the row before.
    number = models.PositiveBigIntegerField(unique=True, editable=False)
    previous = models.CharField(max_length=64, blank=True, editable=False)
    sha256 = models.CharField(max_length=64, editable=False)

    at = models.DateTimeField(_("when"), db_index=True)
    # Only a number, without a constraint: nothing that happens to an account changes a row.
    actor = models.ForeignKey(
        User,
        models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        related_name="+",
        verbose_name=_("who"),
    )
    # The name as it was: it outlives the account. "system" for commands and schedules.
    actor_name = models.CharField(_("who"), max_length=150)
    address = models.GenericIPAddressField(_("from address"), null=True, blank=True)
    action = models.CharField(_("action"), max_length=40, db_index=True)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=40, blank=True)
    object_name = models.CharField(_("object"), max_length=200, blank=True)
    detail = models.JSONField(default=dict, blank=True)

    objects = AuditRows.as_manager()

    class Meta:
        ordering = ["-number"]
        indexes = [models.Index(fields=["object_type", "object_id"])]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.object_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Audit entries are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("Audit entries are never deleted.")


class AuditHead(models.Model):
    """The end of the chain, one row: whoever adds an entry locks it first."""

    number = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    # The seal on that end and its key, see audit_seal.py.
    key_sealed = models.TextField(blank=True, default="", editable=False)
    seal = models.CharField(max_length=160, blank=True, default="", editable=False)

    def __str__(self) -> str:
        return f"{self.number} {self.sha256}"
