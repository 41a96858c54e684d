"""What the pages of signing in ask."""

from __future__ import annotations

from django import template
from django.http import HttpRequest

from xmailadmin.second_factor import works_with_security_keys

register = template.Library()


@register.filter
def takes_security_keys(request: HttpRequest) -> bool:
    """True if browsers offer security keys at the address by which the portal was opened."""
    return works_with_security_keys(request)
