"""The form: every problem at its field in the reader's language, and values offered again."""

import re

import pytest
from crispy_forms.utils import render_crispy_form
from django.utils import translation

from certs import names, spec
from certs.facts import CertificateFacts
from certs.forms import KEY_CHOICES, PairForm
from certs.pair import StateCode
from certs.problems import FACTS, PROBLEMS, STATES, explain
from certs.spec import FieldProblem, PairSpec, key_choices
from hosts import host_names
from tests.certs.conftest import RAW

BAD = {
    "country": ("1!", "country_code"),
    "state": ("a\u202eb", "format_character"),
    "locality": ("区" * 129, "too_long"),
    "organization": ("a\nb", "control_character"),
    "organizational_unit": ("\ue000", "private_character"),
    "common_name": ("mail_1.dojo.jp", "name_characters"),
    "aliases": ("dojo.jp ::ffff:192.0.2.1", "ip_mapped"),
    "email": ("郵便@dojo.jp", "email_local_part"),
    "key_size": ("rsa-1024", "invalid_choice"),
    "days": ("826", "days_range"),
}


def form_of(**changes: str) -> PairForm:
    return PairForm({**RAW, "memo": "", **changes})


def test_a_good_form_has_its_spec() -> None:
    form = form_of(days="８２５", common_name="Mail.Dojo.jp", memo="春の更新")
    assert form.is_valid()
    assert form.spec == PairSpec.parse(RAW)
    assert form.cleaned_data["memo"] == "春の更新"


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("field", list(BAD))
def test_each_problem_is_at_its_field(field: str, language: str) -> None:
    value, code = BAD[field]
    with translation.override(language):
        form = form_of(**{field: value})
        assert list(form.errors) == [field]
        assert [error.code for error in form.errors.as_data()[field]] == [code]
        assert form.spec is None
        (message,) = form.errors[field]
        assert "%(" not in message
        html = render_crispy_form(form)
        assert f'id="id_{field}_error"' in html
        assert 'aria-invalid="true"' in html


def test_all_problems_are_told_together() -> None:
    form = form_of(**{field: value for field, (value, _) in BAD.items()})
    assert set(form.errors) == set(BAD)


def test_several_names_are_each_refused() -> None:
    form = form_of(aliases="a..b *.x")
    codes = [error.code for error in form.errors.as_data()["aliases"]]
    assert codes == ["name_empty_label", "wildcard_labels"]


@pytest.mark.parametrize("blank", ["", " ", "　"])
def test_required_fields_say_so_once(blank: str) -> None:
    form = PairForm(dict.fromkeys(RAW, blank) | {"key_size": "rsa-2048"})
    required = {"country", "state", "locality", "organization", "common_name", "days"}
    assert set(form.errors) == required
    assert all(
        [error.code for error in errors] == ["required"]
        for errors in form.errors.as_data().values()
    )
    assert {name for name, field in form.fields.items() if field.required} == {
        *required,
        "key_size",
    }


def test_only_the_rules_of_the_spec_trim() -> None:
    errors = form_of(state="東京都\n").errors.as_data()
    assert [error.code for error in errors["state"]] == ["control_character"]


def test_too_long_a_memo_is_no_problem_of_the_spec() -> None:
    form = form_of(memo="x" * 2001)
    assert list(form.errors) == ["memo"]


def test_values_are_escaped_in_errors() -> None:
    html = render_crispy_form(form_of(common_name="<script>alert(1)</script>"))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_defaults_suit_most() -> None:
    form = PairForm()
    initial = {name: form.get_initial_for_field(form.fields[name], name) for name in form.fields}
    assert {name: value for name, value in initial.items() if value} == {
        "country": "JP",
        "key_size": "rsa-2048",
        "days": "825",
    }


def test_last_values_are_offered_again() -> None:
    content = PairSpec.parse({**RAW, "key_size": "ec-384", "days": "90"})
    values = PairForm.values_of(content)
    again = PairForm(values)
    assert again.is_valid()
    assert again.spec == content
    html = render_crispy_form(PairForm(initial=values))
    assert 'value="エックスメール株式会社"' in html
    assert re.search(r'<option value="ec-384"\s+selected', html)


def test_the_page_around_it_owns_the_form_element_and_the_token() -> None:
    html = render_crispy_form(PairForm())
    assert "<form" not in html
    assert "csrf" not in html
    assert html.count('class="asteriskField"') == 7


def test_a_subclass_adds_rows() -> None:
    class Longer(PairForm):
        def layout_rows(self) -> list[object]:
            return [*super().layout_rows()[:-1], "memo"]

    assert 'name="memo"' in render_crispy_form(Longer())


def test_every_key_on_offer_has_a_label() -> None:
    assert [value for value, _ in KEY_CHOICES] == key_choices()


class TestWords:
    def test_every_code_of_the_pure_modules_has_its_sentence(self) -> None:
        used: set[str] = set()
        for module in (names, spec, host_names):
            with open(str(module.__file__), encoding="utf-8") as file:
                source = file.read()
            used |= set(re.findall(r'Refused\(\s*"(\w+)"', source))
            used |= set(re.findall(r'FieldProblem\(\w+, "(\w+)"', source))
        used |= set(names._UNWANTED.values()) | {"ip_invalid", "name_with_port"}
        assert used == set(PROBLEMS)

    def test_placeholders_are_given(self) -> None:
        params = dict.fromkeys(("value", "limit", "length", "character", "maximum", "plain"), 1)
        for code in PROBLEMS:
            sentence = explain(FieldProblem("common_name", code, params))
            assert "%(" not in sentence
            assert sentence[0].isupper() or sentence[0] == "“"
            assert sentence.endswith(".")

    def test_every_fact_and_state_has_its_label(self) -> None:
        assert set(STATES) == set(StateCode.__args__)  # type: ignore[attr-defined]
        assert set(FACTS) <= set(CertificateFacts.__dataclass_fields__) | {"key"}
