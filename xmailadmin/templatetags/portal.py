"""Template filters and tags that every app's pages use."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _
from django_stubs_ext import StrOrPromise

register = template.Library()

SOON_DAYS = 30  # an expiry nearer than this wants attention


@register.filter
def hex_pairs(value: str | None) -> SafeString:
    """Returns "abcd" as AB:CD with a place to break the line after every colon."""
    text = (value or "").upper()
    pairs = [text[at : at + 2] for at in range(0, len(text), 2)]
    return format_html_join(mark_safe(":<wbr>"), "{}", ((pair,) for pair in pairs))


# Tone, icon, word and whether the icon turns: of a host, an installation, a pair, a deployment.
STATES: dict[str, tuple[str, str, StrOrPromise, bool]] = {
    "ok": ("ok", "ok", _("In order"), False),
    "warning": ("warning", "warning", _("Needs attention"), False),
    "error": ("error", "error", _("Not in order"), False),
    "unknown": ("idle", "unknown", _("Not diagnosed yet"), False),
    "disabled": ("idle", "disabled", _("Disabled"), False),
    "QUEUED": ("idle", "queued", _("Waiting"), False),
    "RUNNING": ("busy", "running", _("Running"), True),
    "ISSUING": ("busy", "running", _("Being made"), True),
    "ISSUED": ("ok", "ok", _("Ready"), False),
    "INSTALLED": ("ok", "ok", _("Installed"), False),
    "UNCHANGED": ("ok", "unchanged", _("Unchanged"), False),
    "PLACED": ("ok", "placed", _("Placed in sslconf"), False),
    "REMOVED": ("ok", "removed", _("Removed"), False),
    "ROLLED_BACK": ("warning", "rolled-back", _("Failed, previous pair restored"), False),
    "FAILED": ("error", "error", _("Failed"), False),
    "ERRORED": ("error", "errored", _("Error in the portal"), False),
    "CANCELLED": ("idle", "cancelled", _("Cancelled"), False),
    "DONE": ("ok", "ok", _("Done"), False),
    "DONE_WITH_FAILURES": ("error", "error", _("Done, with failures"), False),
}


@register.simple_tag
@cache
def icon(name: str, extra: str = "") -> SafeString:
    """Draws components/icon.html. A long list has hundreds of them, so that is done here, once."""
    return format_html(
        '<svg class="icon{}" aria-hidden="true" focusable="false" width="20" height="20">'
        '<use href="{}#{}"></use></svg>',
        f" {extra}" if extra else "",
        static("xmailadmin/icons.svg"),
        name,
    )


@register.simple_tag
def badge(tone: str, name: str, text: StrOrPromise, turn: bool | str = False) -> SafeString:
    """Draws components/badge.html."""
    return format_html(
        '<span class="status tone-{}">{} <span>{}</span></span>',
        tone,
        icon(name, "icon-turn" if turn else ""),
        text,
    )


@register.simple_tag
def status(state: str) -> SafeString:
    """Draws components/status.html."""
    return badge(*STATES.get(state, ("idle", "unknown", state)))


@register.filter
def colons(value: str | None) -> str:
    """Returns "abcd" as AB:CD, for a text that is no markup."""
    text = (value or "").upper()
    return ":".join(text[at : at + 2] for at in range(0, len(text), 2))


@register.filter
def identity(value: str | None) -> str:
    """Returns the identity of a host as its tools show it: hex in pairs, SHA256:… as it is."""
    return hex_pairs(value) if re.fullmatch("[0-9a-f]{64}", value or "") else value or ""


DATE = re.compile(r"(?<![\d-])\d{4}-\d\d-\d\d(?![\d-])")

# The first that fits is meant: browsers also name those that they want to be taken for.
BROWSERS = (
    ("Edge", "Edg"), ("Opera", "OPR/"), ("Samsung Internet", "SamsungBrowser"),
    ("Firefox", "Firefox/|FxiOS"), ("Chrome", "Chrome/|CriOS"), ("Safari", "Safari/"),
)  # fmt: skip
SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
    ("macOS", "Mac OS X|Macintosh"), ("ChromeOS", "CrOS"), ("Linux", "Linux"),
)  # fmt: skip


@register.filter
def browser(user_agent: str) -> str:
    """Returns the browser and its system in short; what is no known browser stays as it is."""
    kind, system = (
        next((name for name, words in known if re.search(words, user_agent)), "")
        for known in (BROWSERS, SYSTEMS)
    )
    return f"{kind} · {system}" if kind and system else user_agent[:120]


@register.filter(is_safe=True)
def sentences(value: str) -> str:
    """Returns sentences of a template as one paragraph: in Japanese no space parts them."""
    return re.sub(r"(?<=。)\s+", "", value.strip())


@register.filter
def whole_dates(value: StrOrPromise) -> SafeString:
    """Returns the text with its dates kept in one piece: phones break lines at their hyphens."""
    text = conditional_escape(value)
    return mark_safe(DATE.sub(r'<span class="nowrap">\g<0></span>', text))  # noqa: S308  escaped


@register.filter
def days_left(value: datetime | str | None) -> int | None:
    """Returns how many whole days remain until `value`: negative when it is past.

    A template gives "" for what is not there, such as the pair of a host without one.
    """
    return (value - timezone.now()).days if isinstance(value, datetime) else None


@register.filter
def expiry_tone(value: datetime | str | None) -> str:
    """Returns the tone in which an expiry is told: ok, warning, error, or unknown without one."""
    days = days_left(value)
    if days is None:
        return "unknown"
    return "error" if days < 0 else "warning" if days < SOON_DAYS else "ok"
