"""The inventory: one row for one XMail installation that the team registered."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import connection, models, transaction
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from certs.models import Pair
from certs.models.lease import Leased
from hosts.ctrl import CLEAR_PORT, TLS_PORT
from hosts.mailroot import normal_path, real_path
from hosts.probe import Endpoint
from hosts.transports import ssh
from hosts.transports.base import Credential, Target
from xmailadmin import vault

__all__ = [
    "CONNECTION", "PLACE", "SECRETS", "WHEREABOUTS", "WHO", "ChangedMeanwhile", "Host",
    "one_at_a_time",
]  # fmt: skip

SECRETS = ("password", "private_key", "passphrase")
# What decides how the host is reached and what is met there.
CONNECTION = (
    "transport", "os", "mailroot", "address", "port", "user", "trust_fingerprint", "jump",
    "allow_plain_key",
)  # fmt: skip
PLACE = ("transport", "address", "port", "user", "jump", "mailroot")  # where a pair goes
WHO = ("trust_fingerprint", "jump", "allow_plain_key")  # who may get it there
WHEREABOUTS = ("transport", "os", "address", "port", "jump", "mailroot")  # whose MailRoot it is
USUAL_PORTS = {"sftp": ssh.PORT, "ctrl": CLEAR_PORT}
REGISTERING = 0x686F737473  # "hosts": the advisory lock of whoever registers or changes one

PortField = functools.partial(
    models.PositiveIntegerField,
    validators=[MaxValueValidator(65535)],
    help_text=_("0 = off"),
)


class ChangedMeanwhile(Exception):
    """Somebody else has changed how a host is reached, or its secrets, since it was loaded."""


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Makes whoever else registers or changes hosts wait, until the transaction ends.

    So that nobody takes a name or a MailRoot between the look at who has it and the saved host;
    no constraint can tell look-alike names, or two paths to one directory.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":  # SQLite has one writer at a time in any case
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [REGISTERING])
        yield


class Host(Leased):
    """An XMail installation: where its MailRoot is, how it is reached, what it serves."""

    class Transport(models.TextChoices):
        LOCAL = "local", _("Directory of this machine")
        SFTP = "sftp", _("SFTP (SSH)")
        CTRL = "ctrl", _("XMail CTRL")

    class OS(models.TextChoices):
        UNIX = "unix", "Unix"
        WINDOWS = "windows", "Windows"

    class State(models.TextChoices):
        """What the last diagnosis came to."""

        UNKNOWN = "unknown", _("Not diagnosed yet")
        OK = "ok", _("In order")
        WARNING = "warning", _("Needs attention")
        ERROR = "error", _("Not in order")

    name = models.CharField(_("name"), max_length=100, unique=True)
    transport = models.CharField(
        _("transport"), max_length=8, choices=Transport, default=Transport.LOCAL
    )
    os = models.CharField(_("operating system"), max_length=8, choices=OS, default=OS.UNIX)
    address = models.CharField(_("address"), max_length=253, default="127.0.0.1")
    port = models.PositiveIntegerField(
        _("port"), null=True, blank=True, validators=[MaxValueValidator(65535)]
    )
    user = models.CharField(_("user"), max_length=100, blank=True)
    mailroot = models.CharField(_("MailRoot"), max_length=500, blank=True)
    jump = models.CharField(_("jump host"), max_length=300, blank=True)
    trust_fingerprint = models.CharField(_("trusted fingerprint"), max_length=100, blank=True)
    allow_plain_key = models.BooleanField(
        _("allow the private key over an unencrypted connection"), default=False
    )

    smtp_port = PortField("SMTP (STARTTLS)", default=25)
    submission_port = PortField(_("submission (STARTTLS)"), default=0)
    smtps_port = PortField("SMTPS", default=465)
    pop3_port = PortField("POP3 (STLS)", default=110)
    pop3s_port = PortField("POP3S", default=995)
    ctrls_port = PortField("CTRLS", default=6018)

    memo = models.TextField(_("memo"), blank=True, max_length=2000)
    disabled = models.BooleanField(_("disabled"), default=False, db_index=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("registered"), auto_now_add=True)

    password_sealed = models.TextField(blank=True, editable=False)
    private_key_sealed = models.TextField(blank=True, editable=False)
    passphrase_sealed = models.TextField(blank=True, editable=False)

    # The pair that the last finished installation proved to be on the host.
    pair = models.ForeignKey(
        Pair,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="hosts",
        verbose_name=_("pair"),
    )
    # XMail made the key readable for everybody, and cannot tell whether that was mended since.
    key_open = models.BooleanField(default=False, editable=False)
    installed_at = models.DateTimeField(_("installed"), null=True, blank=True, editable=False)
    state = models.CharField(
        _("state"),
        max_length=8,
        choices=State,
        default=State.UNKNOWN,
        editable=False,
        db_index=True,
    )

    class Meta:
        ordering = ["name"]
        verbose_name = _("host")
        verbose_name_plural = _("hosts")

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("host_detail", args=[self.pk])

    @property
    def endpoints(self) -> list[Endpoint]:
        """The TLS services that are on."""
        ports = {
            "smtp": self.smtp_port,
            "submission": self.submission_port,
            "smtps": self.smtps_port,
            "pop3": self.pop3_port,
            "pop3s": self.pop3s_port,
            "ctrls": self.ctrls_port,
        }
        return [Endpoint(name, port) for name, port in ports.items() if port]

    @property
    def place(self) -> str:
        """Where a pair goes that is installed here, for the history and the audit."""
        if self.transport == self.Transport.LOCAL:
            return self.mailroot
        user = f"{self.user}@" if self.user else ""
        address = f"[{self.address}]" if ":" in self.address else self.address
        port = f":{self._odd_port}" if self._odd_port else ""
        via = f" via {self._used_jump}" if self._used_jump else ""
        return f"{self.transport}://{user}{address}{port}/{self.mailroot.lstrip('/')}{via}"

    @property
    def place_digest(self) -> str:
        """The same to compare: two places never have one digest, and one place never has two."""
        parts = {name: getattr(self, name) for name in PLACE}
        jump = self._used_jump.split()[:1]  # whom it is taken for is not where it is
        parts |= {"port": self._odd_port, "jump": jump[0] if jump else ""}
        # By CTRL the path is but a note, and by SFTP the server reads these as one.
        by_ctrl = self.transport == self.Transport.CTRL
        parts["mailroot"] = "" if by_ctrl else self.mailroot.rstrip("/") or self.mailroot[:1]
        return hashlib.sha256(json.dumps([*parts.values()]).encode()).hexdigest()

    @property
    def whereabouts(self) -> tuple[object, ...]:
        """Which MailRoot this is, whoever logs in there: two hosts that have one would undo each
        other's work. A private address behind another jump host is another one."""
        if self.transport == self.Transport.LOCAL:
            return self.transport, real_path(self.mailroot)
        if self.transport == self.Transport.CTRL:  # XMail has one MailRoot, and these two ports
            own = self.port in (CLEAR_PORT, TLS_PORT)
            return self.transport, self.address, None if own else self.port
        jump = self._used_jump.split()[:1]
        via = jump[0].rpartition("@")[2].lower().removesuffix(f":{ssh.PORT}") if jump else ""
        path = normal_path(self.mailroot, self.os)
        return self.transport, self.address, self._odd_port, via, path

    def twin(self) -> str | None:
        """Returns the name of another host with the same MailRoot; None if there is none."""
        here = self.whereabouts
        others = Host.objects.filter(transport=self.transport).exclude(pk=self.pk)
        others = others.only("name", *WHEREABOUTS)
        return next((host.name for host in others.iterator() if host.whereabouts == here), None)

    @property
    def _odd_port(self) -> int | None:
        """The port, but for the usual one: to write that out or to leave it empty is the same."""
        return None if self.port == USUAL_PORTS.get(self.transport) else self.port or None

    @property
    def _used_jump(self) -> str:
        return self.jump if self.transport == self.Transport.SFTP else ""

    def connection(self) -> dict[str, object]:
        """Returns how the host is reached, with its secrets as they are sealed."""
        return {name: getattr(self, name) for name in (*CONNECTION, *map(_sealed, SECRETS))}

    def lock(self, loaded: Mapping[str, object]) -> None:
        """Locks the row until the transaction ends, so that nobody changes the host meanwhile.

        Raises ChangedMeanwhile if its `connection()` is not any more what was loaded: what one
        person enters for a host must not go to where another one has just pointed it.
        """
        row = Host.objects.select_for_update(no_key=True).filter(pk=self.pk)
        if row.values(*loaded).first() != loaded:
            raise ChangedMeanwhile

    def keep_secrets(self, **secrets: str) -> None:
        """Seals the named secrets (password, private_key, passphrase) into the saved row."""
        for name, secret in secrets.items():
            field = _sealed(name)
            sealed = vault.seal(secret.encode(), vault.place(self, field)) if secret else ""
            setattr(self, field, sealed)
        self.save(update_fields=[*map(_sealed, secrets)])

    def target(self) -> Target:
        """Returns what a transport needs, secrets unsealed. Raises vault.VaultError."""
        opened = {}
        for name in SECRETS:
            field = _sealed(name)
            if sealed := getattr(self, field):
                opened[name] = vault.open_sealed(sealed, vault.place(self, field)).decode()
        return Target(
            name=self.name,
            transport=self.transport,
            os=self.os,
            address=self.address,
            port=self.port,
            user=self.user,
            # CTRL needs no path; it is named all the same in what a person is told to do.
            mailroot=self.mailroot or "MailRoot",
            credential=Credential(**opened),
            trust_fingerprint=self.trust_fingerprint,
            jump=self.jump,
            allow_plain_key=self.allow_plain_key,
            clear_recovery=settings.CTRL_CLEAR_RECOVERY,
            allowed_networks=settings.ALLOWED_NETWORKS,
            mailroot_bases=tuple(map(str, settings.MAILROOT_BASES)),
        )


def _sealed(secret: str) -> str:
    return f"{secret}_sealed"
