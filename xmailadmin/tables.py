"""The table of the audit."""

from __future__ import annotations

from typing import Any

import django_tables2 as tables
from django.utils.translation import gettext_lazy as _

PAGE = 50  # rows


def cell(template: str, *args: Any, **kwargs: Any) -> Any:
    """Returns a column whose cells are drawn by templates/audit/cells/<template>.html."""
    return tables.TemplateColumn(*args, template_name=f"audit/cells/{template}.html", **kwargs)


class AuditTable(tables.Table):  # type: ignore[misc]
    """Who did what, the newest first."""

    action = cell("action", verbose_name=_("What"), orderable=False)
    object_name = cell("object", verbose_name=_("Object"), orderable=False, empty_values=())
    actor_name = cell("person", verbose_name=_("Who"), orderable=False, empty_values=())
    at = cell("at", verbose_name=_("When"), order_by="number")

    class Meta:
        order_by = "-at"
        empty_text = _("No entry fits this search.")
