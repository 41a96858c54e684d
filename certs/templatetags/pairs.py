"""Template filters for pairs."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _

from certs.models import Pair

register = template.Library()


@register.filter
def pair_title(pair: Pair) -> str:
    """Returns what the pair is called: by its common name, or else by where it was found."""
    if pair.common_name:
        return pair.common_name
    return (
        _("Found on %(host)s") % {"host": pair.found_on} if pair.found_on else _("Without a name")
    )


@register.filter
def other_names(pair: Pair) -> list[str]:
    """Returns the names of the certificate besides its common name."""
    return [name for name in pair.names.splitlines() if name != pair.common_name]


@register.filter
def beginning(sha256: str) -> str:
    """Returns the first four octets of a fingerprint: `AB:CD:EF:01…`, or an empty string."""
    octets = bytes.fromhex(sha256[:8])
    return f"{octets.hex(':').upper()}…" if octets else ""
