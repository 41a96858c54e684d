"""Template filters that every app's pages use."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

SOON_DAYS = 30  # an expiry nearer than this wants attention


@register.filter
def hex_pairs(value: str | None) -> SafeString:
    """Returns "abcd" as AB:CD with a place to break the line after every colon."""
    text = (value or "").upper()
    pairs = [text[at : at + 2] for at in range(0, len(text), 2)]
    return format_html_join(mark_safe(":<wbr>"), "{}", ((pair,) for pair in pairs))


@register.simple_tag
@cache
def symbol(name: str) -> str:
    """Returns the address of a symbol of icons.svg; a long list draws hundreds of them."""
    return f"{static('xmailadmin/icons.svg')}#{name}"


@register.filter
def colons(value: str | None) -> str:
    """Returns "abcd" as AB:CD, for a text that is no markup."""
    text = (value or "").upper()
    return ":".join(text[at : at + 2] for at in range(0, len(text), 2))


@register.filter
def identity(value: str | None) -> str:
    """Returns the identity of a host as its tools show it: hex in pairs, SHA256:… as it is."""
    return hex_pairs(value) if re.fullmatch("[0-9a-f]{64}", value or "") else value or ""


@register.filter(is_safe=True)
def sentences(value: str) -> str:
    """Returns sentences of a template as one paragraph: in Japanese no space parts them."""
    return re.sub(r"(?<=。)\s+", "", value.strip())


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
