"""The form that asks what a new pair shall contain."""

from typing import Any

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Column, Fieldset, Layout, LayoutObject, Row
from django import forms
from django.utils.translation import gettext_lazy as _

from certs.problems import PROBLEMS, explain_all
from certs.spec import DEFAULT_KEY_SIZES, MAX_DAYS, PairSpec, SpecError

MAX_MEMO = 2000

KEY_CHOICES = [
    ("rsa-2048", _("RSA 2048 bits, suits every client")),
    ("rsa-3072", _("RSA 3072 bits")),
    ("rsa-4096", _("RSA 4096 bits, slower")),
    ("ec-256", _("EC P-256, fast, for current clients")),
    ("ec-384", _("EC P-384, for current clients")),
]


class SpecField(forms.CharField):
    """A text that `PairSpec` reads: only its rules trim, normalise or refuse it."""

    default_error_messages = {"required": PROBLEMS["required"]}

    def __init__(self, *, attrs: dict[str, str] | None = None, **kwargs: Any) -> None:
        widget = kwargs.pop("widget", forms.TextInput)(attrs=attrs)
        super().__init__(strip=False, widget=widget, **kwargs)


# A name is no word: nothing shall correct it or begin it with a capital.
NAME_ATTRS = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class PairForm(forms.Form):
    """What a certificate shall contain and how long it is valid; `spec` holds it once valid.

    The page around it writes the form element and the CSRF token. A subclass adds its rows in
    `layout_rows`.
    """

    country = SpecField(
        label=_("Country code"),
        help_text=_("JP for Japan"),
        initial="JP",
        attrs={"autocomplete": "country", "autocapitalize": "characters", "spellcheck": "false"},
    )
    state = SpecField(
        label=_("State or prefecture"),
        help_text=_("For example: Tokyo"),
        attrs={"autocomplete": "address-level1"},
    )
    locality = SpecField(
        label=_("City or town"),
        help_text=_("For example: Shibuya-ku"),
        attrs={"autocomplete": "address-level2"},
    )
    organization = SpecField(
        label=_("Organization"),
        help_text=_("For example: Xmail Co., Ltd."),
        attrs={"autocomplete": "organization"},
    )
    organizational_unit = SpecField(
        label=_("Department"),
        help_text=_("For example: Development. May stay empty."),
        required=False,
        attrs={"autocomplete": "off"},
    )
    common_name = SpecField(
        label=_("Common name"),
        help_text=_("The host name that mail clients connect to, for example: mail.dojo.jp"),
        attrs={**NAME_ATTRS, "inputmode": "url"},
    )
    aliases = SpecField(
        label=_("Host aliases"),
        help_text=_(
            "Further host names and IP addresses, separated by spaces, "
            "for example: dojo.jp www.soopoo.jp"
        ),
        required=False,
        widget=forms.Textarea,
        attrs={**NAME_ATTRS, "rows": "2"},
    )
    email = SpecField(
        label=_("E-mail address"),
        help_text=_("May stay empty."),
        required=False,
        attrs={**NAME_ATTRS, "autocomplete": "email", "inputmode": "email"},
    )
    key_size = forms.ChoiceField(
        label=_("Key length"),
        help_text=_("RSA 2048 bits suits most."),
        choices=KEY_CHOICES,
        initial=f"rsa-{DEFAULT_KEY_SIZES['rsa']}",
        error_messages={
            "required": PROBLEMS["key_choice"],
            "invalid_choice": PROBLEMS["key_choice"],
        },
    )
    days = SpecField(
        label=_("Days valid"),
        help_text=_("At most 825"),
        initial=str(MAX_DAYS),
        attrs={"autocomplete": "off", "inputmode": "numeric"},
    )
    memo = forms.CharField(
        label=_("Memo"),
        help_text=_("For your team only; it is no part of the certificate."),
        max_length=MAX_MEMO,
        required=False,
        widget=forms.Textarea(attrs={"rows": "2"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spec: PairSpec | None = None
        self.helper = FormHelper()
        self.helper.form_tag = False
        self.helper.disable_csrf = True
        self.helper.layout = Layout(*self.layout_rows())

    def layout_rows(self) -> list[LayoutObject | str]:
        """What the form shows, from top to bottom; the memo comes last."""
        return [
            Fieldset(
                _("Who runs the servers"),
                Row(
                    Column("country", css_class="col-sm-4 col-lg-2"),
                    Column("state", css_class="col-sm-8 col-lg-5"),
                    Column("locality", css_class="col-lg-5"),
                ),
                Row(
                    Column("organization", css_class="col-md-7"),
                    Column("organizational_unit", css_class="col-md-5"),
                ),
            ),
            Fieldset(
                _("What the servers are called"),
                Row(
                    Column("common_name", css_class="col-md-7"),
                    Column("email", css_class="col-md-5"),
                ),
                "aliases",
            ),
            Fieldset(
                _("Key and validity"),
                Row(
                    Column("key_size", css_class="col-sm-7"),
                    Column("days", css_class="col-sm-5"),
                ),
            ),
            "memo",
        ]

    def clean(self) -> dict[str, Any]:
        """Reads the spec; every problem goes to its field, unless the field has one already."""
        cleaned_data = super().clean() or {}
        refused = set(self.errors)
        try:
            self.spec = PairSpec.parse({**cleaned_data, "key_type": ""})
        except SpecError as error:
            for name, problems in explain_all(error.errors).items():
                if name not in refused:
                    self.add_error(name, problems)
        return cleaned_data

    @staticmethod
    def values_of(spec: PairSpec) -> dict[str, str]:
        """The form's values that describe `spec`, to be offered again as `initial`."""
        return {
            "country": spec.country,
            "state": spec.state,
            "locality": spec.locality,
            "organization": spec.organization,
            "organizational_unit": spec.organizational_unit,
            "common_name": spec.common_name,
            "aliases": " ".join(spec.aliases),
            "email": spec.email,
            "key_size": spec.key_choice,
            "days": str(spec.days),
        }
