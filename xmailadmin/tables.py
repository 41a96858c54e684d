"""The table of the audit."""

from __future__ import annotations

from typing import Any

import django_tables2 as tables
from django.core.paginator import EmptyPage
from django.http import HttpRequest
from django.template import Context, Engine
from django.utils.translation import gettext_lazy as _
from django_tables2 import RequestConfig
from django_tables2.data import TableQuerysetData

PAGE = 30  # rows of every long list; with more, a long history would take over 100 ms


class Cell(tables.TemplateColumn):  # type: ignore[misc]
    """A column whose cells are drawn by a template from `record` alone.

    The usual column calls every context processor for every cell, half the time of a long page.
    """

    def render(self, record: Any, **_kwargs: Any) -> str:
        return (
            Engine.get_default()
            .get_template(self.template_name)
            .render(Context({"record": record}))
        )


def cell(template: str, *args: Any, **kwargs: Any) -> Any:
    """Returns a column whose cells are drawn by templates/audit/cells/<template>.html."""
    return Cell(*args, template_name=f"audit/cells/{template}.html", **kwargs)


class KeysFirst(TableQuerysetData):  # type: ignore[misc]
    """Rows of which a page is found by keys alone and only then read.

    Far down a long list, the database would else read and join every row that is passed over.
    """

    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, int):
            return self.data[at]
        keys = list(self.data.values_list("pk", flat=True)[at])
        found = self.data.order_by().in_bulk(keys)
        return [found[key] for key in keys if key in found]


def configure(request: HttpRequest, table: Any, rows: int) -> None:
    """Sorts the table and turns it to the page as the request wants, `rows` to a page.

    django-tables2 itself would take any number of rows from the request.
    """
    RequestConfig(request, paginate=False).configure(table)
    try:
        page = int(request.GET.get(table.prefixed_page_field, "1"))
    except ValueError:
        page = 1
    try:
        table.paginate(page=page, per_page=rows)
    except EmptyPage:
        table.page = table.paginator.page(table.paginator.num_pages)


class AuditTable(tables.Table):  # type: ignore[misc]
    """Who did what, the newest first."""

    action = cell("action", verbose_name=_("What"), orderable=False)
    object_name = cell("object", verbose_name=_("Object"), orderable=False, empty_values=())
    actor_name = cell("person", verbose_name=_("Who"), orderable=False, empty_values=())
    at = cell("at", verbose_name=_("When"), order_by="number")

    class Meta:
        order_by = "-at"
        empty_text = _("No entry fits this search.")
