"""Who may do what: four roles, each a Django group that holds a few permissions.

This is the one place that knows them. A person may have several roles; a superuser (the first
administrator) has all of them. xmailadmin/access.py says which page needs which permission.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

    from xmailadmin.models import User

__all__ = [
    "ADMINISTER",
    "DOWNLOAD_KEYS",
    "OPERATE",
    "PERMISSIONS",
    "ROLES",
    "VIEW",
    "Role",
    "administrators",
    "give",
    "lock_administrators",
    "make_groups",
    "roles_of",
]

VIEW = "xmailadmin.view"
OPERATE = "xmailadmin.operate"
DOWNLOAD_KEYS = "xmailadmin.download_keys"
ADMINISTER = "xmailadmin.administer"

# For User.Meta: what Django keeps as rows.
PERMISSIONS: list[tuple[str, str | StrPromise]] = [
    ("view", "See everything but secrets"),
    ("operate", "Change hosts, pairs, deployments and client notes"),
    ("download_keys", "Download private keys"),
    ("administer", "Manage people and read the audit"),
]


@dataclass(frozen=True)
class Role:
    """A role with its words; `name` is the group's."""

    name: str
    label: str | StrPromise
    tells: str | StrPromise
    permissions: tuple[str, ...]


ROLES = {
    role.name: role
    for role in (
        Role("viewer", _("Viewer"), _("Sees everything but secrets."), (VIEW,)),
        Role(
            "operator",
            _("Operator"),
            _("Registers hosts, makes pairs, installs them and takes them back."),
            (VIEW, OPERATE),
        ),
        Role(
            "key_holder",
            _("Key holder"),
            _("Does what an operator does, and may download private keys."),
            (VIEW, OPERATE, DOWNLOAD_KEYS),
        ),
        Role(
            "administrator",
            _("Administrator"),
            _("Invites people, decides their roles and reads the audit."),
            (VIEW, ADMINISTER),
        ),
    )
}


def make_groups(**_kwargs: Any) -> None:
    """Makes the groups with exactly their permissions; called after every migration.

    A signal rather than a data migration: permissions are rows that Django makes only then, and
    a database that was emptied (flush) gets its roles back.
    """
    from django.apps import apps
    from django.contrib.auth.management import create_permissions
    from django.contrib.auth.models import Group, Permission

    create_permissions(apps.get_app_config("xmailadmin"), verbosity=0)
    ours = {
        f"xmailadmin.{permission.codename}": permission
        for permission in Permission.objects.filter(
            content_type__app_label="xmailadmin",
            codename__in=[codename for codename, _name in PERMISSIONS],
        )
    }
    for role in ROLES.values():
        group, _made = Group.objects.get_or_create(name=role.name)
        group.permissions.set([ours[name] for name in role.permissions])


def roles_of(user: User) -> list[Role]:
    """Returns the roles of a person, in the order of ROLES."""
    if user.is_superuser:
        return list(ROLES.values())
    names = {group.name for group in user.groups.all()}
    return [role for role in ROLES.values() if role.name in names]


def give(user: User, names: Iterable[str]) -> None:
    """Gives the person exactly these roles."""
    from django.contrib.auth.models import Group

    if user.is_superuser:
        user.is_superuser = user.is_staff = False
        user.save(update_fields=["is_superuser", "is_staff"])
    wanted = set(names) & set(ROLES)
    others = user.groups.exclude(name__in=ROLES)
    user.groups.set([*others, *Group.objects.filter(name__in=wanted)])


def administrators() -> QuerySet[User]:
    """Returns the people who can sign in and manage the others: who was only invited cannot yet."""
    from xmailadmin.models import User

    held = Q(is_superuser=True) | Q(groups__name="administrator")
    comes_in = Q(socialaccount__isnull=False) | ~Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)
    return User.objects.filter(held, comes_in, is_active=True).distinct()


def lock_administrators() -> None:
    """Makes whoever else takes administrators away, or invites, wait until this transaction ends.

    The role's row stands for all of them; SQLite has one writer at a time in any case.
    """
    from django.contrib.auth.models import Group

    list(Group.objects.select_for_update().filter(name="administrator"))
