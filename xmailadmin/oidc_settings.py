"""The team's OpenID Connect provider, as the environment names it; settings.py asks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from xmailadmin import home

__all__ = ["PROVIDER_ID", "providers"]

PROVIDER_ID = "sso"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def providers() -> dict[str, Any]:
    """Returns allauth's setting for the provider that the environment names, {} for none."""
    url = home.url_from_environment("XMAILADMIN_OIDC_URL", "")
    if not url:
        return {}
    if not url.startswith("https://") and urlsplit(url).hostname not in THIS_MACHINE:
        raise home.HomeError(
            f"XMAILADMIN_OIDC_URL must begin with https://, not {url}: whoever is in between would "
            "say who signs in. http:// is for a provider on this machine."
        )
    app = {
        "provider_id": PROVIDER_ID,
        "name": home.from_environment("XMAILADMIN_OIDC_NAME", "OpenID Connect"),
        "client_id": home.from_environment("XMAILADMIN_OIDC_CLIENT_ID"),
        "secret": home.from_environment("XMAILADMIN_OIDC_CLIENT_SECRET"),
        "settings": {"server_url": url, "oauth_pkce_enabled": True},
    }
    return {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}
