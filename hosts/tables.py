"""The tables of hosts, deployments and installations."""

from __future__ import annotations

from typing import Any

import django_tables2 as tables
from django.utils.translation import gettext_lazy as _

from hosts.models import Deployment, Installation
from xmailadmin.audit_words import person
from xmailadmin.tables import Cell


def cell(template: str, *args: Any, **kwargs: Any) -> Any:
    """Returns a column whose cells are drawn by templates/hosts/cells/<template>.html."""
    return Cell(*args, template_name=f"hosts/cells/{template}.html", **kwargs)


class Person(tables.Column):  # type: ignore[misc]
    """Who asked for something, in words where it was not a person."""

    def __init__(self, **options: Any) -> None:
        super().__init__(attrs={"td": {"class": "words"}}, **options)

    def render(self, value: str, record: Deployment | Installation) -> str:
        asked = record.deployment if isinstance(record, Installation) else record
        return person(value, asked.created_by_id)


class HostTable(tables.Table):  # type: ignore[misc]
    """Every host: is it in order, which pair does it hold, and until when."""

    name = cell("host", verbose_name=_("Host"))
    state = cell("host_state", verbose_name=_("State"), order_by=("disabled", "state", "name"))
    pair = cell("pair", verbose_name=_("Pair"), order_by=("pair__common_name", "name"))
    until = cell(
        "until", verbose_name=_("Valid until"), accessor="pair__not_after", empty_values=()
    )
    installed_at = cell("installed", verbose_name=_("Installed"))

    class Meta:
        order_by = "name"
        empty_text = _("No host fits this search.")


class DeploymentTable(tables.Table):  # type: ignore[misc]
    """Every request to install, with how it went."""

    id = cell("deployment", verbose_name=_("Deployment"))
    pair = cell("pair", verbose_name=_("Pair"), orderable=False, empty_values=())
    outcome = cell(
        "deployment_outcome", verbose_name=_("Outcome"), orderable=False, empty_values=()
    )
    created_by_name = Person(verbose_name=_("Requested by"))
    created_at = cell("requested", verbose_name=_("Requested"))

    class Meta:
        order_by = "-id"
        empty_text = _("No deployment fits this search.")


class InstallationTable(tables.Table):  # type: ignore[misc]
    """What was done to which host, the newest first."""

    id = cell("installation", verbose_name=_("Host"), order_by="host_name")
    status = cell("outcome", verbose_name=_("Outcome"))
    pair = cell("pair", verbose_name=_("Pair"), orderable=False, empty_values=())
    previous_pair = cell(
        "previous_pair", verbose_name=_("Before"), orderable=False, empty_values=()
    )
    person = Person(
        verbose_name=_("Requested by"), accessor="deployment__created_by_name", orderable=False
    )
    at = cell("at", verbose_name=_("When"), accessor="pk", order_by="id")

    class Meta:
        order_by = "-at"
        empty_text = _("No installation fits this search.")
