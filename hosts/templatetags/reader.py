"""The panel “Page for mail users”, on the page of a host and on that of a pair."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django import template
from django.urls import reverse

from certs.clients import covers
from certs.models import Pair
from hosts.models import Host, ReaderPage
from xmailadmin import vault

register = template.Library()


@register.inclusion_tag("hosts/reader/panel.html", takes_context=True)
def mail_users_panel(context: dict[str, Any], subject: Host | Pair) -> dict[str, Any]:
    """Shows whether there is a page about the host or pair, its link, and what it announces."""
    page = ReaderPage.objects.about(subject).first()
    kind = "host" if isinstance(subject, Host) else "pair"
    found: dict[str, Any] = {
        "page": page,
        "kind": kind,
        "edit_url": reverse(f"{kind}_reader", args=[subject.pk]),
        "possible": subject.pair is not None if isinstance(subject, Host) else subject.usable,
        "perms": context.get("perms"),
    }
    if page is None:
        return found
    pair = page.current_pair()
    held = pair.names.splitlines() if pair is not None else []
    told = dict.fromkeys([page.server_name, page.sending_name or page.server_name])
    link = _link(page)
    found |= {
        "link": link,
        # Its own address of the picture: the browser takes pictures from where the page is.
        "qr_url": f"{urlsplit(link).path}qr.svg",
        "planned": page.planned_pair(),
        "done": page.change_done(),
        "services": page.endpoints(),
        "known": pair is not None,
        "not_held": [name for name in told if pair is not None and not covers(held, name)],
    }
    return found


def _link(page: ReaderPage) -> str:
    """Returns the link, "" when it is withdrawn or cannot be unsealed."""
    try:
        return page.link() if page.on else ""
    except vault.VaultError:
        return ""
