"""The words of what the audit records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models import Field, Q
from django.utils.translation import gettext_lazy as _

from xmailadmin.audit import SYSTEM
from xmailadmin.roles import ROLES

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

__all__ = ["ACTIONS", "PROBLEMS", "detail_of", "named", "person", "word"]

ACTIONS: dict[str, str | StrPromise] = {
    # People and signing in.
    "signin": _("Signed in"),
    "signin.failed": _("Wrong password"),
    "second_factor.failed": _("Wrong code"),
    "signin.blocked": _("Sign-in blocked after wrong attempts"),
    "signin.refused": _("Sign-in refused: the account is switched off"),
    "signin.outdated": _("Sign-in refused: the password was changed meanwhile"),
    "signin.confirmed": _("Confirmed who it is"),
    "signout": _("Signed out"),
    "password.changed": _("Password changed"),
    "second_factor.added": _("Second factor set up"),
    "second_factor.renamed": _("Security key renamed"),
    "second_factor.removed": _("Second factor removed"),
    "second_factor.reset": _("Recovery codes made anew"),
    "single_sign_on.connected": _("Single sign-on connected"),
    "single_sign_on.disconnected": _("Single sign-on disconnected"),
    "single_sign_on.unknown": _("Single sign-on refused: nobody here has that address"),
    "single_sign_on.failed": _("Single sign-on failed"),
    "sessions.ended": _("Sessions ended"),
    "person.invited": _("Person invited"),
    "person.link": _("New one-time link made"),
    "person.link_used": _("Password chosen by a one-time link"),
    "person.roles": _("Roles changed"),
    "person.disabled": _("Account switched off"),
    "person.enabled": _("Account switched on"),
    "person.second_factor_removed": _("Second factor removed by an administrator"),
    "user.first_administrator": _("First administrator made"),
    # What was refused, and the audit itself.
    "portal.move": _("Portal moved to PostgreSQL"),
    "access.denied": _("Refused: no permission"),
    "access.unconfirmed": _("Refused: not confirmed who it is"),
    "access.forged": _("Refused: not sent by a page of the portal"),
    "audit.export": _("Audit exported"),
    "audit.verify": _("Audit verified"),
    "audit.remember": _("End of the audit remembered anew"),
    # Hosts.
    "host.add": _("Host registered"),
    "host.edit": _("Host changed"),
    "host.enable": _("Host enabled"),
    "host.disable": _("Host disabled"),
    "host.delete": _("Host deleted"),
    "host.trust": _("Identity of a host trusted"),
    "host.adopt": _("Pair that lies on a host kept as its own"),
    "host.mend": _("Mending the mode of a private key"),
    "host.mended": _("Mode of a private key said to be mended"),
    "host.import": _("Hosts imported"),
    # The page for mail users.
    "reader.on": _("Page for mail users switched on"),
    "reader.edit": _("Page for mail users changed"),
    "reader.renew": _("Page for mail users given a new link"),
    "reader.withdraw": _("Link of the page for mail users withdrawn"),
    "reader.announce": _("Change announced to mail users"),
    "reader.unannounce": _("Announcement to mail users taken back"),
    # Pairs.
    "pair.request": _("Pair asked for"),
    "pair.issued": _("Pair made"),
    "pair.failed": _("Pair could not be made"),
    "pair.adopt": _("Pair found on a host and kept"),
    "pair.memo": _("Memo of a pair changed"),
    "pair.send": _("Private key sent to hosts"),
    "pair.key": _("Private key downloaded"),
    "pair.zip": _("Private key and certificate downloaded"),
    # Deployments.
    "deployment.install": _("Installation asked for"),
    "deployment.place": _("Placing of files asked for"),
    "deployment.rollback": _("Roll-back asked for"),
    "deployment.cancel": _("Deployment cancelled"),
    # Client notes.
    "note.added": _("Client note added"),
    "note.corrected": _("Client note corrected"),
    "note.confirmed": _("Client note confirmed"),
    "note.measured": _("Client note measured again"),
    "note.removed": _("Client note removed"),
    "report.add": _("Client report sent in"),
    "report.accepted": _("Client report accepted"),
    "report.dismissed": _("Client report dismissed"),
    # The portal itself.
    "vault.rotate": _("Master key changed"),
    "portal.backup": _("Backup written"),
    "portal.restore": _("Restored from a backup"),
}

PROBLEMS: dict[str, str | StrPromise] = {
    "missing": _("Entry %(number)s is missing."),
    "unlinked": _("Entry %(number)s does not follow from the one before it."),
    "changed": _("Entry %(number)s was changed."),
    "rewritten": _("Entry %(number)s is not the one that the data directory remembers."),
    "cut": _("Entries are missing at the end, from number %(number)s on."),
    "added": _("Entry %(number)s was not written by the portal."),
    "odd": _(
        "The row that says where the audit ends (table xmailadmin_audithead) holds values that the "
        "portal never writes. The end is taken to be number %(number)s."
    ),
    "unsealed": _(
        "The seal of the portal is not on the end of the audit: entries from number %(number)s on "
        "were added by somebody else, or while the master key was missing."
    ),
    "unnoted": _(
        "The data directory does not remember the end of the audit (audit.head), so entries after "
        "number %(number)s may have been cut off. If that has a known reason, such as a new "
        "machine, run “manage.py verify_audit --remember” there."
    ),
}

DETAILS: dict[str, str | StrPromise] = {
    "roles": _("roles"),
    "before": _("before"),
    "now": _("now"),
    "by": _("by"),
    "kind": _("kind"),
    "sessions": _("sessions"),
    "logins": _("logins"),
    "method": _("method"),
    "path": _("address"),
    "fields": _("fields"),
    "host": _("host"),
    "hosts": _("hosts"),
    "pair": _("pair"),
    "deployment": _("deployment"),
    "common_name": _("common name"),
    "sha256": _("fingerprint"),
    "mailroot": _("MailRoot"),
    "server": _("server name"),
    "day": _("day"),
    "entries": _("entries"),
    "problems": _("problems"),
    "count": _("number"),
    "rows": _("rows"),
    "secrets": _("secrets"),
    "key": _("master key"),
    "trusted": _("identity trusted"),
}
VALUES: dict[str, str | StrPromise] = {
    "password": _("password"),
    "mfa": _("second factor"),
    "socialaccount": _("single sign-on"),
    "totp": _("authenticator app"),
    "webauthn": _("security key"),
    "recovery_codes": _("recovery codes"),
    "private_key": _("Private SSH key"),
    "passphrase": _("Passphrase of the private SSH key"),
    **{role.name: role.label for role in ROLES.values()},
}
WORDED = (
    "by",
    "kind",
    "roles",
    "before",
    "now",
    "fields",
    "secrets",
)  # the details that have such values
HIDDEN = ("account", "device")  # only for counting


def word(action: str) -> str:
    """Returns the words of an action; one that has none yet is shown as it is stored."""
    return str(ACTIONS.get(action, action))


def person(name: str, account: int | None) -> str:
    """Returns who did something: a user name as it is, the portal and nobody in words.

    An older account may have the name that stands for the portal; it has a number all the same.
    """
    if name == SYSTEM and account is None:
        return str(_("the portal itself"))
    return name or str(_("nobody signed in"))


def named(field: str, text: str) -> Q:
    """Returns the condition that the person in `field` is called like `text`, or is shown so."""
    wanted = Q(**{f"{field}__icontains": text})
    if text.casefold() in person(SYSTEM, None).casefold():
        wanted |= Q(**{field: SYSTEM, f"{field.removesuffix('_name')}__isnull": True})
    return wanted


def detail_of(detail: Mapping[str, Any], object_type: str = "") -> list[tuple[str, str]]:
    """Returns what else an entry about such an object says, as (name, value)."""
    words = VALUES | _fields_of(object_type) if "fields" in detail else VALUES
    return [
        (str(DETAILS.get(name, name)), _shown(value, words if name in WORDED else {}))
        for name, value in detail.items()
        if name not in HIDDEN and value not in (None, "", [])
    ]


def _shown(value: Any, words: Mapping[str, str | StrPromise]) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{words.get(name, name)} {_in_words(said) or f'“{said}”'}"
            for name, said in value.items()
        )
    found = value if isinstance(value, list) else [value]
    return ", ".join(_in_words(item) or str(words.get(item, item)) for item in found)


def _in_words(value: Any) -> str:
    """Returns what stands for a value that is no text or number, "" for one that is."""
    if value is None or value == "":
        return str(_("None"))
    if isinstance(value, bool):
        return str(_("Yes") if value else _("No"))
    return ""


def _fields_of(object_type: str) -> dict[str, str | StrPromise]:
    """Returns what the fields of a model are called."""
    found = (model for model in apps.get_models() if model._meta.model_name == object_type)
    return {
        field.name: field.verbose_name
        for model in found
        for field in model._meta.get_fields()
        if isinstance(field, Field)
    }
