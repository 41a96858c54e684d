"""The page for mail users: what a host or a pair shows to everybody who has its link."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from certs.models import Pair
from hosts.mail_settings import Endpoints, common
from hosts.models.host import Host
from xmailadmin import vault

__all__ = ["ReaderPage"]

TOKEN_BYTES = 32


def token_hash(token: str) -> str:
    """Returns what is stored of a token, and what a page is looked up by."""
    return hashlib.sha256(token.encode()).hexdigest()


class ReaderPageManager(models.Manager["ReaderPage"]):
    def by_token(self, token: str) -> ReaderPage | None:
        """Returns the page behind a link that works, or None.

        The database compares hashes, whose order tells nothing about tokens; what it found is
        compared once more in constant time.
        """
        wanted = token_hash(token)
        rows = self.select_related("host__pair", "pair", "next_pair")
        page = rows.filter(token_sha256=wanted).first()
        if page is None or not secrets.compare_digest(page.token_sha256 or "", wanted):
            return None
        return page

    def about(self, subject: Host | Pair) -> models.QuerySet[ReaderPage]:
        """Returns the pages of a host, or those that show a pair now or by a planned change."""
        rows = self.select_related("host__pair", "pair", "next_pair")
        if isinstance(subject, Host):
            return rows.filter(host=subject)
        return rows.filter(models.Q(pair=subject) | models.Q(host=None, next_pair=subject))


class ReaderPage(models.Model):
    """A public page about a host (with whatever pair it has) or a pair (wherever it is).

    The database holds the hash of the token in its link, by which the page is found, and the token
    sealed, so that the team can see the link again. Without a hash the page is switched off.
    """

    class UserName(models.TextChoices):
        """What people enter as their user name."""

        ADDRESS = "address", _("the whole mail address (taro@example.jp)")
        LOCAL = "local", _("the part before the @ (taro)")

    host = models.OneToOneField(
        Host, models.CASCADE, null=True, blank=True, editable=False, related_name="reader_page"
    )
    pair = models.ForeignKey(
        Pair, models.CASCADE, null=True, blank=True, editable=False, related_name="reader_pages"
    )
    token_sha256 = models.CharField(max_length=64, null=True, unique=True, editable=False)
    token_sealed = models.TextField(blank=True, editable=False)

    # What a person chose to tell everybody; nothing else of the host is shown but its ports.
    server_name = models.CharField(_("server name"), max_length=253)
    sending_name = models.CharField(_("server name for sending"), max_length=253, blank=True)
    user_name = models.CharField(
        _("user name"), max_length=8, choices=UserName, default=UserName.ADDRESS
    )
    mail_domain = models.CharField(_("mail domain"), max_length=253)
    contact = models.CharField(_("whom to ask"), max_length=200, blank=True)

    # A change that was announced, until it is done.
    next_pair = models.ForeignKey(
        Pair, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("new pair")
    )
    change_on = models.DateField(_("day of the change"), null=True, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)

    objects = ReaderPageManager()

    class Meta:
        verbose_name = _("page for mail users")
        verbose_name_plural = _("pages for mail users")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(host=None, pair__isnull=False)
                | models.Q(host__isnull=False, pair=None),
                name="reader_page_about_one",
            )
        ]

    def __str__(self) -> str:
        return self.server_name

    def get_absolute_url(self) -> str:
        """Returns where the team looks after the page."""
        return f"{self.subject.get_absolute_url()}#mail-users"

    @property
    def subject(self) -> Host | Pair:
        """What the page is about."""
        found = self.host or self.pair
        assert found is not None  # noqa: S101  the constraint above
        return found

    @property
    def on(self) -> bool:
        """True if the link works."""
        return self.token_sha256 is not None

    def link(self) -> str:
        """Returns the link to give away; raises VaultError if its token cannot be unsealed."""
        token = vault.open_sealed(self.token_sealed, vault.place(self, "token_sealed")).decode()
        return f"{settings.PORTAL_URL}{reverse('reader_page', args=[token])}"

    def switch_on(self) -> None:
        """Gives the page a new link, saving it; an older link stops working."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with transaction.atomic():
            # First of all written: a secret is sealed for a row that is there, and a rotation of
            # master keys waits for whoever seals in a transaction that has begun to write.
            self.save()
            self.token_sha256 = token_hash(token)
            self.token_sealed = vault.seal(token.encode(), vault.place(self, "token_sealed"))
            self.save(update_fields=["token_sha256", "token_sealed"])

    def withdraw(self) -> None:
        """Takes the link back; what was entered stays for the next time."""
        self.token_sha256, self.token_sealed = None, ""
        self.save(update_fields=["token_sha256", "token_sealed"])

    # --- What it shows --------------------------------------------------------------------------

    def current_pair(self) -> Pair | None:
        """Returns the pair that mail programs meet now, as far as the portal knows."""
        if self.host is not None:
            return self.host.pair
        return self.next_pair if self.change_done() else self.pair

    def change_done(self) -> bool:
        """True once the announced pair has taken the place of the one before."""
        if self.next_pair is None:
            return False
        if self.host is not None:
            return self.host.pair_id == self.next_pair_id
        on_hosts = Host.objects.filter(pair__in=[self.pair_id, self.next_pair_id])
        return set(on_hosts.values_list("pair_id", flat=True)) == {self.next_pair_id}

    def planned_pair(self) -> Pair | None:
        """Returns the pair that was announced and is not there yet."""
        return None if self.change_done() else self.next_pair

    def announce(self, pair: Pair, on: Any) -> None:
        """Announces that `pair` will be installed; a page about a pair follows a change that is
        done."""
        if self.host is None and self.change_done():
            self.pair = self.next_pair
        self.next_pair, self.change_on = pair, on
        self.save(update_fields=["pair", "next_pair", "change_on"])

    def drop_announcement(self) -> None:
        """Takes the announcement back, or clears one that is done."""
        if self.host is None and self.change_done():
            self.pair = self.next_pair
        self.next_pair = self.change_on = None
        self.save(update_fields=["pair", "next_pair", "change_on"])

    def endpoints(self) -> Endpoints:
        """Returns the services that the page names: for a pair, what all of its hosts offer."""
        return common(self._offers())

    def ports_differ(self) -> bool:
        """True if the hosts of a pair offer more than what they have in common."""
        offers = self._offers()
        return any(set(each) != set(common(offers)) for each in offers)

    def _offers(self) -> list[Endpoints]:
        if self.host is not None:
            return [self.host.endpoints]
        pair = self.current_pair()
        return [host.endpoints for host in pair.hosts.all()] if pair is not None else []
