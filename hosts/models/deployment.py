"""Requests to install a pair, and what each did to each host: the history."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from certs.models import NoteSnapshot, Pair
from certs.models.lease import Queued
from hosts.models.host import Host
from hosts.models.told import ToldField

__all__ = ["Deployment", "Installation"]


class DeploymentManager(models.Manager["Deployment"]):
    def counted(self, deployments: Iterable[Deployment]) -> list[Deployment]:
        """Returns the deployments with their counts: one query for all that are under way."""
        found = list(deployments)
        live = {row.pk: row for row in found if not row.tally}
        rows = Installation.objects.filter(deployment__in=live).order_by()
        counts = rows.values_list("deployment", "status").annotate(models.Count("pk"))
        for pk, status, number in counts if live else ():
            live[pk].tally[status] = number
        return found


class Deployment(models.Model):
    """One request to install one pair on one or more hosts."""

    class Kind(models.TextChoices):
        INSTALL = "INSTALL", _("Install")
        PLACE = "PLACE", _("Place in sslconf")
        ROLLBACK = "ROLLBACK", _("Roll back")

    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.INSTALL)
    # None for a roll back: there every installation names the pair that its own host gets back.
    pair = models.ForeignKey(
        Pair,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="deployments",
        verbose_name=_("pair"),
    )
    rolls_back = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="rolled_back_by"
    )
    # 0 = never; after so many failures the hosts that were not begun are cancelled.
    stop_after = models.PositiveIntegerField(_("stop after failures"), default=0)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("requested by"),
    )
    created_by_name = models.CharField(_("requested by"), max_length=150)
    created_at = models.DateTimeField(_("requested"), auto_now_add=True, db_index=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True, db_index=True)
    # How many hosts came to which status, kept once it is finished: lists need not count again.
    tally: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(
        default=dict, editable=False
    )

    objects = DeploymentManager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")

    def __str__(self) -> str:
        return f"#{self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("deployment_detail", args=[self.pk])

    @property
    def finished(self) -> bool:
        return self.finished_at is not None

    @property
    def total(self) -> int:
        """How many hosts it is for. For lists: see `counted`."""
        return sum(self.tally.values())

    @property
    def done(self) -> int:
        """On how many hosts it has ended, well or badly."""
        return self.total - sum(self.tally.get(each, 0) for each in Installation.UNFINISHED)

    @property
    def bad(self) -> int:
        """On how many hosts it did not come to what was asked for."""
        bad = (*Installation.BAD, Installation.Status.CANCELLED)
        return sum(self.tally.get(each, 0) for each in bad)

    def counts(self) -> dict[str, int]:
        """Returns how many installations have each status, in the order of Status."""
        found = self.tally or dict(
            self.installations.order_by().values_list("status").annotate(models.Count("pk"))
        )
        return {status: found[status] for status in Installation.Status.values if status in found}


class Installation(Queued):
    """What a deployment did, or is to do, to one host: one row of history."""

    class Status(models.TextChoices):
        QUEUED = "QUEUED", _("Waiting")
        RUNNING = "RUNNING", _("Running")
        INSTALLED = "INSTALLED", _("Installed")
        UNCHANGED = "UNCHANGED", _("Unchanged")
        PLACED = "PLACED", _("Placed in sslconf")
        REMOVED = "REMOVED", _("Removed")
        ROLLED_BACK = "ROLLED_BACK", _("Failed, previous pair restored")
        FAILED = "FAILED", _("Failed")
        ERRORED = "ERRORED", _("Error in the portal")
        CANCELLED = "CANCELLED", _("Cancelled")

    UNFINISHED = (Status.QUEUED, Status.RUNNING)
    GOOD = (Status.INSTALLED, Status.UNCHANGED, Status.PLACED, Status.REMOVED)
    BAD = (Status.ROLLED_BACK, Status.FAILED, Status.ERRORED)

    deployment = models.ForeignKey(
        Deployment, models.PROTECT, related_name="installations", db_index=False
    )
    # History outlives the host: these are its name and place as they were when this was asked for.
    host = models.ForeignKey(
        Host, models.SET_NULL, null=True, blank=True, related_name="installations", db_index=False
    )
    host_name = models.CharField(_("host"), max_length=100, db_index=True)
    host_place = models.CharField(_("MailRoot"), max_length=1300, blank=True)
    place_digest = models.CharField(max_length=64, blank=True, editable=False)
    # What the host is to hold afterwards; None = no pair at all.
    pair = models.ForeignKey(
        Pair,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="installations",
        db_index=False,
        verbose_name=_("pair"),
    )
    # What it held before; None = nothing, or not yet known while `adopted` is False.
    previous_pair = models.ForeignKey(
        Pair,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("previous pair"),
    )
    adopted = models.BooleanField(default=False, editable=False)
    # The one whose worker was overtaken and may have written all the same: see deploy.put_right.
    puts_right = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        editable=False,
    )
    wave = models.PositiveSmallIntegerField(default=1)  # 0 goes first and must succeed

    status = models.CharField(_("outcome"), max_length=12, choices=Status, default=Status.QUEUED)
    step = models.CharField(max_length=12, blank=True)
    steps = ToldField(default=list, blank=True)  # [{"step", "at", "message"}]
    message = ToldField(null=True, blank=True)  # hosts.messages.Message.to_json()
    notes = ToldField(default=list, blank=True)  # of the same kind
    endpoints = ToldField(default=list, blank=True)  # EndpointResult.to_json()
    client_notes = models.ForeignKey(
        NoteSnapshot, models.PROTECT, null=True, blank=True, related_name="+"
    )
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    # It has ended, and nobody was asked yet to look at what the host serves now.
    look_due = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("installation")
        verbose_name_plural = _("installation history")
        constraints = [
            models.UniqueConstraint(fields=["deployment", "host"], name="one_per_host"),
        ]
        indexes = [
            # With the name, so that a long deployment is put in order without reading its rows.
            models.Index(fields=["deployment", "status", "host_name"]),
            models.Index(fields=["status", "-id"]),
            models.Index(fields=["host", "-id"]),
            models.Index(fields=["pair", "-id"]),
            # The sweep looks only at what is unfinished, however long the history grows.
            models.Index(
                fields=["host", "id"],
                name="unfinished",
                condition=Q(status__in=("QUEUED", "RUNNING")),
            ),
            models.Index(fields=["deployment"], name="look_due", condition=Q(look_due=True)),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.host_name}"

    def get_absolute_url(self) -> str:
        return reverse("installation_detail", args=[self.pk])

    @property
    def finished(self) -> bool:
        return self.status not in self.UNFINISHED

    @property
    def host_moved(self) -> bool:
        """True if the host is not any more where it was when this was asked for."""
        # One that was asked for before digests were kept cannot tell.
        moved = self.host is not None and self.place_digest != self.host.place_digest
        return moved and self.place_digest != ""

    @property
    def good(self) -> bool:
        return self.status in self.GOOD
