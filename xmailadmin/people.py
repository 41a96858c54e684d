"""The team: inviting people, deciding their roles, and shutting an account at once."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from certs.names import Refused, normalise_email
from xmailadmin import audit, roles, sessions
from xmailadmin.models import AccessLink, User

__all__ = [
    "LastAdministrator",
    "accept",
    "address_of",
    "change_roles",
    "disable",
    "disconnect",
    "enable",
    "factors_of",
    "invite",
    "link_for",
    "make_link",
    "one_at_a_time",
    "remove_second_factor",
    "send_link",
]

logger = logging.getLogger(__name__)


class LastAdministrator(Exception):
    """Nobody would be left who can manage people."""


@contextmanager
def _keeping_an_administrator() -> Iterator[None]:
    """Undoes what would leave no administrator, also when two do it to each other at once."""
    with transaction.atomic():
        roles.lock_administrators()
        yield
        if not roles.administrators().exists():
            raise LastAdministrator


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Makes whoever else invites, or takes administrators away, wait: nobody takes a name or an
    e-mail address between the look at who has it and the new account (older portals may hold an
    address twice, so the database cannot see to it), and no link is made by who is none any more.
    """
    with transaction.atomic():
        roles.lock_administrators()
        yield


def invite(by: HttpRequest, username: str, email: str, role_names: Iterable[str]) -> str:
    """Makes an account that waits for its person, and returns the token of its one-time link."""
    with transaction.atomic():
        person = User(username=username, email=email)
        person.set_unusable_password()
        person.save()
        roles.give(person, role_names)
        token = _new_link(by, person)
        audit.record(by, "person.invited", person, roles=sorted(role_names))
    return token


def make_link(by: HttpRequest, person: User) -> str:
    """Returns the token of a new one-time link to choose a password; the old one is void.

    Raises User.DoesNotExist if the account is switched off by now.
    """
    with one_at_a_time():
        # As whoever switches it off does: the link would work when it is switched on again.
        person = User.objects.select_for_update(no_key=True).get(pk=person.pk, is_active=True)
        token = _new_link(by, person)
        audit.record(by, "person.link", person)
    return token


def _new_link(by: HttpRequest, person: User) -> str:
    token = secrets.token_urlsafe(32)
    AccessLink.objects.update_or_create(
        user=person,
        defaults={
            "token_sha256": _hash(token),
            "made_at": timezone.now(),
            "made_by_name": by.user.get_username(),
        },
    )
    return token


def _links_made_by(person: User) -> QuerySet[AccessLink]:
    """They would be a way back in, by the account of somebody else."""
    return AccessLink.objects.filter(made_by_name=person.get_username())


def address_of(token: str) -> str:
    """Returns the address to hand over."""
    return f"{settings.PORTAL_URL}{reverse('access_link', args=[token])}"


def send_link(person: User, address: str) -> bool | None:
    """Sends the address by mail where that is set up; True if it is on its way, None if nothing
    was to be sent."""
    if not (settings.MAIL and person.email):
        return None
    text = _(
        "You are invited to xmailadmin as %(name)s. Open this address within three days and "
        "choose your password:\n\n%(address)s\n\nIt works once. If you did not expect this, do "
        "nothing."
    )
    subject = _("Your account at xmailadmin")
    words = {"name": person.get_username(), "address": address}
    try:
        return bool(send_mail(subject, text % words, None, [normalise_email(person.email)]))
    except Refused:
        logger.warning("No mail goes to the address of %s: its domain is none", words["name"])
        return False
    except OSError as error:  # SMTP errors are OSErrors: the link is on the page in any case
        logger.warning("The mail server took no invitation: %s", error)
        return False


def link_for(token: str) -> AccessLink | None:
    """Returns the link with this token if it still works."""
    link = AccessLink.objects.filter(token_sha256=_hash(token)).select_related("user").first()
    return link if link is not None and link.valid else None


def accept(request: HttpRequest, link: AccessLink, password: str) -> bool:
    """Gives the link's person this password, once; False if somebody else was faster."""
    person = link.user
    person.set_password(password)  # takes its time: nobody else waits for the database meanwhile
    with transaction.atomic():
        # The person first, as whoever shuts the account does.
        if not User.objects.select_for_update(no_key=True).filter(pk=person.pk, is_active=True):
            return False
        if not AccessLink.objects.filter(pk=link.pk, token_sha256=link.token_sha256).delete()[0]:
            return False
        audit.record(request, "person.link_used", person)  # before a session of theirs ends
        person.save(update_fields=["password"])
        sessions.end_all(person)
    return True


def change_roles(by: HttpRequest, person: User, names: Collection[str]) -> None:
    """Gives the person exactly these roles. Raises LastAdministrator.

    Who is no administrator any more has made links that are void.
    """
    with _keeping_an_administrator():
        audit.still_allowed(by)  # before they give themselves what they have just lost
        before = sorted(role.name for role in person.roles)
        roles.give(person, names)
        if "administrator" not in names:
            _links_made_by(person).delete()
        audit.record(by, "person.roles", person, before=before, now=sorted(names))


def disable(by: HttpRequest, person: User) -> None:
    """Shuts the account at once: sessions end, and nobody signs in with it.

    Links to it are void, and those that the person made. Raises LastAdministrator.
    """
    with _keeping_an_administrator():
        if not _switch(person, on=False):
            return
        (AccessLink.objects.filter(user=person) | _links_made_by(person)).delete()
        ended = sessions.end_all(person)
        audit.record(by, "person.disabled", person, sessions=ended)


def enable(by: HttpRequest, person: User) -> None:
    """Opens the account again; a session that began in the moment it was shut ends too."""
    with transaction.atomic():
        if _switch(person, on=True):
            sessions.end_all(person)
            audit.record(by, "person.enabled", person)


def _switch(person: User, *, on: bool) -> bool:
    """Says whether the account is open; returns False if it was like that already."""
    person.is_active = on
    return bool(User.objects.filter(pk=person.pk, is_active=not on).update(is_active=on))


def factors_of(person: User) -> QuerySet[Authenticator]:
    """Returns the apps and security keys of a person."""
    # Recovery codes go with the last of them, and whoever signed in by one makes them anew at will.
    codes = Authenticator.Type.RECOVERY_CODES
    held: QuerySet[Authenticator] = Authenticator.objects.filter(user=person).exclude(type=codes)
    return held


def remove_second_factor(by: HttpRequest | None, person: User, factors: Collection[int]) -> bool:
    """Takes away the second factors of a person who has lost them; sessions end too.

    `factors` are the numbers of the apps and keys that were meant; False if there are others by
    now, or none.
    """
    with transaction.atomic():
        # First: who is about to set up another one waits for it.
        User.objects.select_for_update(no_key=True).get(pk=person.pk)
        if not factors or {each.pk for each in factors_of(person)} != set(factors):
            return False
        Authenticator.objects.filter(user=person).delete()
        ended = sessions.end_all(person, keep=by)
        audit.record(by, "person.second_factor_removed", person, sessions=ended)
    return True


def disconnect(by: HttpRequest, person: User) -> bool:
    """Takes away the login at the team's provider; sessions end too. Raises LastAdministrator.

    False if there was none.
    """
    with transaction.atomic():
        logins = list(SocialAccount.objects.filter(user=person).values_list("uid", flat=True))
        if not logins:
            return False
        with _keeping_an_administrator():  # before a session is told that it goes on
            SocialAccount.objects.filter(user=person).delete()
        sessions.end_all(person, keep=by)
        audit.record(by, "single_sign_on.disconnected", person, logins=logins)
    return True


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
