"""What the portal logs in with at a host, as it is typed in; it is never shown again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

__all__ = ["EXACT", "SecretFields"]

# A name, path or key is no word: nothing shall correct it or begin it with a capital.
EXACT = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class SecretArea(forms.Textarea):
    """A text area whose content is never sent back to a browser."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


class SecretFields(forms.Form):
    """A password, or a private SSH key with its passphrase."""

    password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    private_key = forms.CharField(
        label=_("Private SSH key"),
        help_text=_("In PEM or OpenSSH form; instead of a password."),
        required=False,
        max_length=20_000,
        widget=SecretArea(attrs={"rows": 3, "class": "mono", **EXACT}),
    )
    passphrase = forms.CharField(
        label=_("Passphrase of the private SSH key"),
        required=False,
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
