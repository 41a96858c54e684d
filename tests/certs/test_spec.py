"""Every row of the rules for input: what is accepted is in its one form, all else is refused."""

import ipaddress
import json
import re
import time
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from certs.names import Refused, normalise_email, normalise_name, normalise_text, to_unicode
from certs.spec import MAX_DAYS, FieldProblem, PairSpec, SpecError, key_choices
from tests.certs.conftest import RAW, examples, spec

LDH = "abcdefghijklmnopqrstuvwxyz0123456789-"
HOST = re.compile(
    r"(?=.{1,253}\Z)(\*\.(?=[^.]+\.))?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)"
    r"(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)

labels = st.from_regex(r"\A[a-z]([a-z0-9]{0,20}(-[a-z0-9]{1,9}){0,2})?\Z")
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)
long_hosts = st.lists(labels, min_size=2, max_size=20).map(".".join).filter(lambda h: len(h) <= 253)
kanji = st.text("東京都渋谷区例えメール株式会社日本語ドメイン名", min_size=1, max_size=12)
international = st.builds("{}.{}".format, kanji, labels)
ipv4 = st.ip_addresses(v=4).filter(lambda ip: not ip.is_unspecified).map(str)
ipv6 = st.ip_addresses(v=6).filter(
    lambda ip: not ip.is_unspecified and not getattr(ip, "ipv4_mapped", None)
)
names = st.one_of(long_hosts, international, ipv4, ipv6.map(str), hosts.map("*.a.{}".format))
# Near misses: what people paste, what attackers send.
alphabets = st.sampled_from(
    [LDH + ".", LDH + ".*:%/@_ []", "0123456789.:xabcdef%", "例えﾒｰﾙ。．＊ß١Ⅷ‍\u200b\u202e\n\r\0"]
)
near_names = alphabets.flatmap(lambda alphabet: st.text(alphabet, max_size=80)) | st.text()


def codes(field: str, **changes: object) -> list[str]:
    with pytest.raises(SpecError) as raised:
        PairSpec.parse({**RAW, **changes})
    assert {problem.field for problem in raised.value.errors} == {field}
    return [problem.code for problem in raised.value.errors]


def attempt(**changes: object) -> PairSpec | list[FieldProblem]:
    try:
        return PairSpec.parse({**RAW, **changes})
    except SpecError as error:
        return error.errors


def refused_fields(result: PairSpec | list[FieldProblem]) -> set[str]:
    return {problem.field for problem in result} if isinstance(result, list) else set()


def assert_host_or_address(name: str) -> None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        assert HOST.fullmatch(name)
        assert not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", name.rpartition(".")[2])
    else:
        assert str(address) == name
        assert "%" not in name
        assert not address.is_unspecified
        assert getattr(address, "ipv4_mapped", None) is None


class TestNames:
    @examples(3000)
    @given(near_names)
    def test_whatever_is_typed_is_refused_or_in_its_one_form(self, typed: str) -> None:
        try:
            name = normalise_name(typed)
        except Refused:
            return
        assert_host_or_address(name)
        assert normalise_name(name) == name

    @examples(3000)
    @given(names)
    def test_good_names_are_accepted(self, name: str) -> None:
        assume(max(map(len, name.split("."))) <= 63)
        assert_host_or_address(normalise_name(name))
        assert normalise_name(f"　{name.upper()} ") == normalise_name(name)

    @examples(1000)
    @given(hosts, st.sampled_from(["\0", "\n", "\r", " ", "_", "*", "/", "@", "\u202e", ".."]))
    def test_one_bad_character_refuses_a_name(self, host: str, poison: str) -> None:
        for typed in (f"{host}{poison}x", f"x{poison}{host}", f"x{poison}.{host}"):
            with pytest.raises(Refused):
                normalise_name(typed)

    @examples(1000)
    @given(st.ip_addresses())
    def test_addresses(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        mapped = getattr(address, "ipv4_mapped", None)
        for typed in (str(address), address.exploded.upper()):
            if address.is_unspecified or mapped:
                with pytest.raises(Refused):
                    normalise_name(typed)
            else:
                assert normalise_name(typed) == str(address)
        if address.version == 6:
            with pytest.raises(Refused):
                normalise_name(f"{address}%eth0")
        else:
            with pytest.raises(Refused):
                normalise_name(f"::ffff:{address}")

    @pytest.mark.parametrize(
        ("typed", "name"),
        [
            ("Mail.Dojo.JP", "mail.dojo.jp"),
            ("mail.dojo.jp.", "mail.dojo.jp"),
            ("ｍａｉｌ．ｄｏｊｏ．ｊｐ", "mail.dojo.jp"),
            ("メール。例え。jp", "xn--4dkua4c.xn--r8jz45g.jp"),
            ("XN--R8JZ45G.jp", "xn--r8jz45g.jp"),
            ("faß.de", "xn--fa-hia.de"),
            ("＊.dojo.jp", "*.dojo.jp"),
            ("*.例え.jp", "*.xn--r8jz45g.jp"),
            ("localhost", "localhost"),
            ("2001:DB8:0:0::25", "2001:db8::25"),
            ("２００１：ｄｂ８：：１", "2001:db8::1"),
            (f"{'a' * 63}.jp", f"{'a' * 63}.jp"),
        ],
    )
    def test_normal_form(self, typed: str, name: str) -> None:
        assert normalise_name(typed) == name

    @pytest.mark.parametrize(
        ("typed", "code"),
        [
            ("", "name_empty"),
            ("a..b", "name_empty_label"),
            (".dojo.jp", "name_empty_label"),
            ("mail_1.dojo.jp", "name_characters"),
            ("-mail.dojo.jp", "name_characters"),
            ("mail-.dojo.jp", "name_characters"),
            ("mail dojo", "name_characters"),
            ("mail.dojo.jp\n", "control_character"),
            ("mail\0.dojo.jp", "control_character"),
            ("mail\u202e.dojo.jp", "format_character"),
            ("mail\ue000.dojo.jp", "private_character"),
            ("mail\ud800.dojo.jp", "unknown_character"),
            ("xn--a.jp", "name_not_international"),
            ("xn--zzzzzzzzz99.jp", "name_not_international"),
            ("☃.jp", "name_not_international"),
            ("a\u0301\u0301-.例.jp", "name_not_international"),
            ("mail.dojo.jp:25", "name_with_port"),
            ("https://mail.dojo.jp/", "name_with_port"),
            ("*", "wildcard_position"),
            ("a.*.jp", "wildcard_position"),
            ("*.*.jp", "wildcard_position"),
            ("m*.dojo.jp", "wildcard_position"),
            ("*.jp", "wildcard_labels"),
            ("*.192.0.2.1", "wildcard_labels"),
            ("192.0.2", "ip_invalid"),
            ("192.0.2.256", "ip_invalid"),
            ("192.0.2.01", "ip_invalid"),
            ("0x7f.0.0.0x1", "ip_invalid"),
            ("3221225985", "ip_invalid"),
            ("[2001:db8::1]", "ip_invalid"),
            ("::ffff:192.0.2.1", "ip_mapped"),
            ("fe80::1%eth0", "ip_zone"),
            ("0.0.0.0", "ip_unspecified"),  # noqa: S104
            ("::", "ip_unspecified"),
            (f"{'a' * 64}.jp", "label_too_long"),
            (f"{'例' * 60}.jp", "label_too_long"),
            (".".join(["a" * 49] * 6), "name_too_long"),
            (".".join(["a" * 50] * 5), "name_too_long"),
        ],
    )
    def test_refusals(self, typed: str, code: str) -> None:
        with pytest.raises(Refused) as raised:
            normalise_name(typed)
        assert raised.value.code == code

    def test_to_unicode_shows_what_people_typed(self) -> None:
        assert to_unicode("*.xn--r8jz45g.jp") == "*.例え.jp"
        assert to_unicode("192.0.2.1") == "192.0.2.1"
        assert to_unicode("xn--a.jp") == "xn--a.jp"


class TestEmail:
    LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")

    @examples(1000)
    @given(st.text(alphabet='aZ9.-_+@＠例"\\ \r\n\0<>,', max_size=40) | st.emails() | st.text())
    def test_whatever_is_typed_is_refused_or_in_its_one_form(self, typed: str) -> None:
        try:
            address = normalise_email(typed)
        except Refused:
            return
        local_part, _, domain = address.rpartition("@")
        assert self.LOCAL.fullmatch(local_part)
        assert ".." not in f".{local_part}."
        assert HOST.fullmatch(domain)
        assert not domain.startswith("*")
        assert len(address) <= 254
        assert normalise_email(address) == address

    @pytest.mark.parametrize(
        ("typed", "address"),
        [
            ("Post.Master@Dojo.JP", "Post.Master@dojo.jp"),
            ("　postmaster＠例え.jp ", "postmaster@xn--r8jz45g.jp"),
            (f"{'a' * 64}@dojo.jp", f"{'a' * 64}@dojo.jp"),
        ],
    )
    def test_normal_form(self, typed: str, address: str) -> None:
        assert spec(email=typed).email == address

    @pytest.mark.parametrize(
        ("typed", "code"),
        [
            ("postmaster", "email_form"),
            ("@dojo.jp", "email_form"),
            ("postmaster@", "email_form"),
            ("郵便@dojo.jp", "email_local_part"),
            ("a..b@dojo.jp", "email_local_part"),
            ('"a b"@dojo.jp', "email_local_part"),
            ("a@b@dojo.jp", "email_local_part"),
            (f"{'a' * 65}@dojo.jp", "email_local_part"),
            ("a@192.0.2.1", "email_domain"),
            ("a@*.dojo.jp", "email_domain"),
            ("a@dojo..jp", "email_domain"),
            ("a@dojo.jp\r\nBcc: b@dojo.jp", "control_character"),
            (f"{'a' * 60}@{'.'.join(['b' * 49] * 4)}", "too_long"),
        ],
    )
    def test_refusals(self, typed: str, code: str) -> None:
        assert codes("email", email=typed) == [code]

    def test_is_optional(self) -> None:
        assert spec(email="　 ").email == ""


class TestSubjectTexts:
    @examples(1000)
    @given(st.text(max_size=140), st.sampled_from([64, 128]))
    def test_whatever_is_typed_is_refused_or_clean(self, typed: str, limit: int) -> None:
        try:
            text = normalise_text(typed, limit)
        except Refused:
            return
        assert len(text) <= limit
        assert unicodedata.is_normalized("NFC", text)
        assert text == text.strip()
        assert not {unicodedata.category(c) for c in text} & {"Cc", "Cf", "Cs", "Cn", "Co"}

    @pytest.mark.parametrize("field", ["state", "locality", "organization", "organizational_unit"])
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("a\nb", "control_character"),
            ("a\0b", "control_character"),
            ("a\tb", "control_character"),
            ("a\x7fb", "control_character"),
            ("a\u2028b", "control_character"),
            ("a\u202eb", "format_character"),
            ("a\u2066b", "format_character"),
            ("a\u200bb", "format_character"),
            ("a\ud800b", "unknown_character"),
            ("a\ufffeb", "unknown_character"),
            ("\ue000野家", "private_character"),
            ("株" * 129, "too_long"),
        ],
    )
    def test_refusals(self, field: str, text: str, code: str) -> None:
        assert codes(field, **{field: text}) == [code]

    @pytest.mark.parametrize(
        ("field", "limit"),
        [("state", 128), ("locality", 128), ("organization", 64), ("organizational_unit", 64)],
    )
    def test_limits_count_characters(self, field: str, limit: int) -> None:
        assert getattr(spec(**{field: "株" * limit}), field) == "株" * limit
        assert codes(field, **{field: "株" * (limit + 1)}) == ["too_long"]

    def test_composes_and_trims(self) -> None:
        assert spec(organization="　かぶしき\u304b\u3099いしゃ ").organization == "かぶしきがいしゃ"

    def test_keeps_variation_selectors_of_japanese_names(self) -> None:
        assert spec(locality="葛\U000e0100城市").locality == "葛\U000e0100城市"

    @pytest.mark.parametrize(
        "field", ["country", "state", "locality", "organization", "common_name", "days"]
    )
    @pytest.mark.parametrize("blank", ["", " ", "　", None])
    def test_required(self, field: str, blank: str | None) -> None:
        assert codes(field, **{field: blank}) == ["required"]

    def test_department_is_optional(self) -> None:
        assert spec(organizational_unit="　").organizational_unit == ""

    @examples(1000)
    @given(st.text(max_size=4) | st.from_regex(r"\A[A-Za-zＡ-Ｚ]{2}\Z"))
    def test_country(self, typed: str) -> None:
        result = attempt(country=typed)
        if isinstance(result, PairSpec):
            assert re.fullmatch("[A-Z]{2}", result.country, re.ASCII)
        else:
            assert refused_fields(result) == {"country"}

    @pytest.mark.parametrize("typed", ["1!", "J", "JPN", "日本", "ſs", "j\0", "ß"])
    def test_country_refusals(self, typed: str) -> None:
        assert codes("country", country=typed) == ["country_code"]

    def test_country_is_upper_cased(self) -> None:
        assert spec(country="ｊｐ").country == "JP"


class TestDays:
    @examples(1000)
    @given(st.integers() | st.text(max_size=6) | st.integers(1, MAX_DAYS).map(str))
    def test_whatever_is_typed_is_refused_or_in_range(self, typed: int | str) -> None:
        result = attempt(days=typed)
        if isinstance(result, PairSpec):
            assert 1 <= result.days <= MAX_DAYS
        else:
            assert refused_fields(result) == {"days"}

    @examples(825)
    @given(st.integers(1, MAX_DAYS))
    def test_accepts_one_to_825(self, days: int) -> None:
        assert spec(days=str(days)).days == days

    @pytest.mark.parametrize("typed", ["0", "826", "9999", "999999999"])
    def test_out_of_range(self, typed: str) -> None:
        assert codes("days", days=typed) == ["days_range"]

    @pytest.mark.parametrize(
        "typed", ["-1", "1.5", "1e2", "٣", "²", "1_0", "+5", "一", "9" * 5000, "1\n"]
    )
    def test_no_number(self, typed: str) -> None:
        assert codes("days", days=typed) == ["days_number"]

    @pytest.mark.parametrize("wrong", [True, 1.5, [1], b"1"])
    def test_not_text(self, wrong: object) -> None:
        assert codes("days", days=wrong) == ["not_text"]

    def test_full_width_digits(self) -> None:
        assert spec(days=" ３６５ ").days == 365


class TestKeys:
    @pytest.mark.parametrize("choice", ["rsa-2048", "rsa-3072", "rsa-4096", "ec-256", "ec-384"])
    def test_each_choice_in_each_spelling(self, choice: str) -> None:
        kind, _, size = choice.partition("-")
        assert choice in key_choices()
        for typed in ({"key_size": choice}, {"key_type": kind, "key_size": size}):
            content = PairSpec.parse({**RAW, **typed})
            assert (content.key_type, content.key_size) == (kind, int(size))
            assert content.key_choice == choice

    @pytest.mark.parametrize(("kind", "size"), [("rsa", 2048), ("ec", 256)])
    def test_a_kind_alone_has_a_default(self, kind: str, size: int) -> None:
        assert PairSpec.parse({**RAW, "key_type": kind, "key_size": None}).key_size == size

    @pytest.mark.parametrize(
        ("kind", "size"),
        [
            ("", "rsa-1024"),
            ("", "rsa-512"),
            ("", "ec-192"),
            ("", "ec-521"),
            ("", "ed25519"),
            ("", "dsa-2048"),
            ("rsa", "256"),
            ("ec", "2048"),
            ("ec", "rsa-2048"),
            ("x", ""),
            ("", "2048-rsa"),
            ("", "rsa-２０４８\0"),
        ],
    )
    def test_everything_else_is_refused(self, kind: str, size: str) -> None:
        assert codes("key_size", key_type=kind, key_size=size) == ["key_choice"]

    def test_required(self) -> None:
        assert codes("key_size", key_size="") == ["required"]


class TestCommonNameAndAliases:
    @examples(2000)
    @given(near_names | names)
    def test_common_name(self, typed: str) -> None:
        result = attempt(common_name=typed)
        if isinstance(result, PairSpec):
            assert_host_or_address(result.common_name)
            assert len(result.common_name) <= 64
        else:
            assert refused_fields(result) == {"common_name"}

    def test_common_name_of_at_most_64_characters(self) -> None:
        name = f"{'a' * 30}.{'b' * 30}.jp"
        assert spec(common_name=name).common_name == name
        assert codes("common_name", common_name=f"x{name}") == ["common_name_too_long"]
        assert spec(aliases=f"x{name}").aliases == (f"x{name}",)

    @examples(500)
    @given(st.lists(names, max_size=110), st.sampled_from([" ", "\n", "　", ", ", "、", "\t"]))
    def test_list_is_unique_and_complete(self, typed: list[str], separator: str) -> None:
        expected = {normalise_name(name) for name in typed} - {"mail.dojo.jp"}
        result = attempt(aliases=separator.join(typed))
        if isinstance(result, PairSpec):
            assert set(result.aliases) == expected
            assert len(result.names) == len(set(result.names)) <= 100
            assert result.names[0] == result.common_name
        else:
            assert [problem.code for problem in result] == ["too_many_names"]
            assert len(expected) + 1 > 100

    def test_exactly_100_names(self) -> None:
        aliases = [f"h{number}.dojo.jp" for number in range(100)]
        assert len(PairSpec.parse({**RAW, "aliases": aliases[:99]}).names) == 100
        assert codes("aliases", aliases=aliases) == ["too_many_names"]

    def test_repetitions_are_dropped(self) -> None:
        content = spec(aliases="dojo.jp MAIL.dojo.jp dojo.jp. 2001:db8::1 2001:DB8:0::1")
        assert content.aliases == ("dojo.jp", "2001:db8::1")

    def test_each_bad_alias_is_named(self) -> None:
        assert codes("aliases", aliases="a..b good.jp *.x 300.1.1.1") == [
            "name_empty_label",
            "wildcard_labels",
            "ip_invalid",
        ]

    @pytest.mark.parametrize("wrong", [[1], [None], 5, [b"a"], b"a", {"a": 1}, True])
    def test_not_text(self, wrong: object) -> None:
        assert codes("aliases", aliases=wrong) == ["not_text"]

    @pytest.mark.parametrize(
        "huge",
        [
            "例え " * 100_000,
            "a" * 1_000_000,
            " ".join(f"例{number}.jp" for number in range(999)),
            " ".join(f"例{number}.jp" for number in range(5000)),
            "." * 30_000,
            "xn--" + "z" * 200_000,
        ],
    )
    def test_huge_input_is_refused_at_once(self, huge: str) -> None:
        start = time.process_time()
        for field in ("aliases", "common_name", "email", "state", "days", "key_size", "country"):
            with pytest.raises(SpecError):
                spec(**{field: huge})
        assert time.process_time() - start < 1.0


class TestSpec:
    @examples(500)
    @given(
        st.dictionaries(
            st.sampled_from(sorted(RAW)),
            st.none() | st.text(max_size=20) | st.integers() | st.lists(st.text(max_size=9)),
        )
    )
    def test_no_input_does_anything_but_a_refusal(self, changes: dict[str, object]) -> None:
        result = attempt(**changes)
        if isinstance(result, PairSpec):
            assert PairSpec.from_json(json.loads(json.dumps(result.to_json()))) == result
        else:
            assert refused_fields(result) <= set(RAW)

    def test_every_problem_is_told_together(self) -> None:
        with pytest.raises(SpecError) as raised:
            PairSpec.parse({})
        assert {problem.field for problem in raised.value.errors} == {
            "country",
            "state",
            "locality",
            "organization",
            "common_name",
            "key_size",
            "days",
        }

    def test_an_invalid_spec_cannot_be_built_around_the_rules(self) -> None:
        good = spec().to_json()
        for field, value in {"days": 9999, "key_size": 1024, "common_name": "A..b"}.items():
            with pytest.raises(SpecError):
                PairSpec(**{**good, "aliases": (), field: value})
            with pytest.raises(SpecError):
                PairSpec.from_json({**good, field: value})
        with pytest.raises(SpecError):
            PairSpec(**{**good, "aliases": ("DOJO.jp",)})
