"""Forms about people, and the search of the audit."""

from __future__ import annotations

import unicodedata
from typing import Any

from allauth.account import forms as allauth
from django import forms
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from certs.names import Refused, normalise_email
from certs.problems import PROBLEMS
from xmailadmin import limits
from xmailadmin.models import User, refuse_reserved_name
from xmailadmin.roles import ROLES

__all__ = [
    "NAME_TAKEN",
    "ChangePasswordForm",
    "FirstPasswordForm",
    "InviteForm",
    "LoginForm",
    "PasswordForm",
    "ReauthenticateForm",
    "RolesForm",
]


NAME_TAKEN = _("There is already an account with this name.")


class RolesForm(forms.Form):
    """What a person may do."""

    roles = forms.MultipleChoiceField(
        label=_("Roles"),
        widget=forms.CheckboxSelectMultiple,
        choices=[(role.name, role.label) for role in ROLES.values()],
        error_messages={"required": _("Choose at least one role.")},
    )


class _UserNameField(forms.CharField):
    """A name in ASCII, typed in whatever width: none looks like another."""

    def to_python(self, value: Any) -> str:
        return unicodedata.normalize("NFKC", super().to_python(value) or "")


class InviteForm(RolesForm):
    """Whom to invite."""

    username = _UserNameField(
        label=_("User name"),
        max_length=150,
        validators=[ASCIIUsernameValidator()],
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text=_("With which the person signs in. Letters, digits and @ . + - _ only."),
    )
    email = forms.EmailField(
        label=_("E-mail address"),
        required=False,
        max_length=254,
        help_text=_(
            "Optional. The link is sent there where mail is set up, and single sign-on knows the "
            "person by it."
        ),
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    field_order = ["username", "email", "roles"]

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        refuse_reserved_name(name)
        if User.objects.filter(username__iexact=name).exists():
            raise ValidationError(NAME_TAKEN)
        return name

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        try:
            # So that no program on its way makes another domain of it.
            email = normalise_email(email) if email else ""
        except Refused as refused:
            raise ValidationError(PROBLEMS[refused.code] % refused.params) from None
        if email and User.objects.filter(email__iexact=email).exists():
            raise ValidationError(_("There is already an account with this e-mail address."))
        return email


class _SaysLabelsOnce:
    """Takes away allauth's placeholders, which repeat the labels."""

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)


class LoginForm(_SaysLabelsOnce, allauth.LoginForm):  # type: ignore[misc]
    """Name and password."""


class ReauthenticateForm(_SaysLabelsOnce, allauth.ReauthenticateForm):  # type: ignore[misc]
    """The password once more."""


class FirstPasswordForm(_SaysLabelsOnce, allauth.SetPasswordForm):  # type: ignore[misc]
    """A password for an account that has none."""


class ChangePasswordForm(_SaysLabelsOnce, allauth.ChangePasswordForm):  # type: ignore[misc]
    """A new password for the old one, whose guesses count like those of signing in."""

    def clean_oldpassword(self) -> str:
        from allauth.core import context

        counted = limits.begin(context.request, self.user.get_username())
        try:
            password: str = super().clean_oldpassword()
        except ValidationError:
            limits.failed(context.request, self.user.get_username())
            limits.missed(counted)
            raise
        except BaseException:
            limits.passed(counted)  # it was not looked at
            raise
        limits.passed(counted)
        return password


class PasswordForm(SetPasswordForm):  # type: ignore[type-arg]
    """The first password of a person, or a new one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].label = _("Password")
        self.fields["new_password2"].label = _("The same again")
        self.fields["new_password2"].help_text = ""
