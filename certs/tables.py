"""The table of pairs."""

from __future__ import annotations

from typing import Any

import django_tables2 as tables
from django.utils.translation import gettext_lazy as _

from xmailadmin.tables import Cell

__all__ = ["PairTable"]


def cell(template: str, *args: Any, **kwargs: Any) -> Any:
    """Returns a column whose cells are drawn by templates/certs/cells/<template>.html."""
    kwargs.setdefault("empty_values", ())
    return Cell(*args, template_name=f"certs/cells/{template}.html", **kwargs)


class PairTable(tables.Table):  # type: ignore[misc]
    """Every pair: what it is for, until when, and where it is installed."""

    pair = cell("pair", verbose_name=_("Pair"), accessor="common_name")
    key = cell("key", verbose_name=_("Key"), accessor="key_label")
    until = cell("until", verbose_name=_("Valid until"), accessor="not_after")
    fingerprint = cell("fingerprint", verbose_name=_("SHA-256"), accessor="sha256", orderable=False)
    hosts = cell("hosts", verbose_name=_("Installed on"), accessor="host_count")
    made = cell("made", verbose_name=_("Made"), accessor="pk")

    class Meta:
        order_by = "-made"
        empty_text = _("No pair fits this search.")
