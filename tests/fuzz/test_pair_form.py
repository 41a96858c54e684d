"""The form of a new pair against what anybody may type, row by row of the rules for input."""

from __future__ import annotations

import ipaddress
import re
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from certs import pair
from certs.issue import PrivateKey, issue, self_sign
from certs.names import normalise_name
from certs.spec import MAX_DAYS, PairSpec, SpecError, key_choices
from tests.certs.conftest import NOW, RAW, tool
from tests.certs.test_spec import hosts, names, near_names
from tests.fuzz.conftest import Answer, Sender, examples
from tests.tally import Tally

pytestmark = pytest.mark.django_db

FULL_WIDTH = {ord(digit): chr(ord(digit) + 0xFEE0) for digit in "0123456789"}
FORM = {**RAW, "key_size": "ec-256", "memo": "", "after": ""}

# What a browser can send: everything but half of a character.
typed = st.text(max_size=140)
spelled_addresses = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=4).map("::ffff:{}".format),
    st.ip_addresses(v=6).map("{}%eth0".format),
    st.ip_addresses(v=6).map("[{}]".format),
    st.ip_addresses(v=4).map(lambda ip: hex(int(ip))),
    st.ip_addresses(v=4).map(lambda ip: ".".join(oct(part) for part in ip.packed)),
    st.ip_addresses(v=4).map(lambda ip: f"{ip}:25"),
    st.text("0123456789.:abcdefx%/[]", max_size=45),
)
texts = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from("\u202e\u2066\u200b\ufeff\0\t\r\n\u2028株渋谷がか\u3099"),
    max_size=140,
)


@pytest.fixture
def sender(operator: Client, tally: Tally) -> Sender:
    return Sender(operator, tally, reverse("pair_new"))


def try_field(sender: Sender, row: str, **changes: str) -> Answer:
    """Sends the form; accepted is exactly what the spec accepts, and refused for that field."""
    answer = sender.send(row, {**FORM, **changes})
    assert answer.refused_fields == refused_by_the_rules({**FORM, **changes})
    return answer


def refused_by_the_rules(values: dict[str, str]) -> set[str]:
    try:
        PairSpec.parse({**values, "key_type": ""})
    except SpecError as error:
        return {problem.field for problem in error.errors}
    return set()


@examples(2000)
@given(near_names | names)
def test_common_name(sender: Sender, value: str) -> None:
    try_field(sender, "common name", common_name=value)


@examples(3000)
@given(st.lists(near_names | names, min_size=1, max_size=3).map(" ".join))
def test_aliases(sender: Sender, value: str) -> None:
    try_field(sender, "DNS names", aliases=value)


@examples(1000)
@given(spelled_addresses)
def test_addresses(sender: Sender, value: str) -> None:
    answer = try_field(sender, "IP addresses", aliases=value)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return
    mapped = getattr(address, "ipv4_mapped", None)
    zone = getattr(address, "scope_id", None)
    assert answer.accepted is not bool(mapped or zone or address.is_unspecified)


@examples(1000)
@given(st.emails() | st.text('aZ9.-_+@＠例"\\ \r\n\0<>,', max_size=300) | typed)
def test_email(sender: Sender, value: str) -> None:
    try_field(sender, "e-mail", email=value)


@examples(500)
@given(
    st.lists(names | hosts, max_size=115),
    st.sampled_from([" ", "\n", "　", ", ", "、", "\t", ";", "\0"]),
)
def test_list_of_names(sender: Sender, found: list[str], separator: str) -> None:
    try_field(sender, "list of names", aliases=separator.join(found))


@examples(1000)
@given(
    st.integers().map(str)
    | st.integers(-1, 1000).map(str)
    | st.text("0123456789.-+e ０１２٣一\0", max_size=8)
    | st.integers(1, MAX_DAYS).map(lambda days: str(days).translate(FULL_WIDTH))
)
def test_validity(sender: Sender, value: str) -> None:
    try_field(sender, "validity", days=value)


@examples(1000)
@given(
    st.sampled_from(["country", "state", "locality", "organization", "organizational_unit"]), texts
)
def test_subject(sender: Sender, field: str, value: str) -> None:
    try_field(sender, "subject", **{field: value})


WRONG_KEYS = [
    "", "rsa-1024", "rsa-512", "rsa-2047", "rsa-8192", "rsa-２０４８", "RSA-2048 ", "rsa", "ec-192",
    "ec-224", "ec-521", "ec-", "ed25519", "ed448", "dsa-2048", "x25519", "2048", "rsa-2048\0",
    "rsa-2048\r\n", "-", "ec-256;ls", "../rsa-2048", "null", "[]", "1e3",
]  # fmt: skip


@pytest.mark.parametrize("value", [*key_choices(), *WRONG_KEYS])
def test_key(sender: Sender, value: str) -> None:
    answer = sender.send("kind of key", {**FORM, "key_size": value})
    assert answer.accepted is (value in key_choices())


@examples(500)
@given(
    st.dictionaries(st.sampled_from(sorted(FORM)), texts | near_names, min_size=2),
    st.sets(st.sampled_from(sorted(FORM))),
)
def test_anything_anywhere(sender: Sender, changes: dict[str, str], missing: set[str]) -> None:
    data = {name: value for name, value in {**FORM, **changes}.items() if name not in missing}
    sender.send("anything anywhere", data)


@examples(500)
@given(st.builds(dict, common_name=hosts, aliases=st.lists(names, max_size=4).map(" ".join)))
def test_openssl_reads_what_was_accepted(
    ec_key: PrivateKey, tally: Tally, changes: dict[str, str]
) -> None:
    """Names go round: from the form into the certificate, through OpenSSL, and back."""
    try:
        spec = PairSpec.parse({**FORM, **changes, "key_type": ""})
    except SpecError:  # a common name that is too long
        tally.add("accepted and read by OpenSSL", refused=True)
        return
    made = self_sign(spec, ec_key, NOW).public_bytes(serialization.Encoding.PEM)
    key = ec_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    assert pair.matches(key, made)
    assert pair.facts(made).names == spec.names
    told = subprocess.run(
        [tool("openssl"), "x509", "-noout", "-ext", "subjectAltName"],
        input=made, capture_output=True, check=True, text=False,
    ).stdout.decode()  # fmt: skip
    shown = re.findall(r"(?:DNS|IP Address):([^,\s]+)", told)
    assert [normalise_name(name) for name in shown] == list(spec.names)
    tally.add("accepted and read by OpenSSL")


def test_every_kind_of_key_matches_its_certificate() -> None:
    for kind in ("rsa-2048", "ec-256", "ec-384"):
        made = issue(PairSpec.parse({**RAW, "key_size": kind}), NOW)
        assert pair.matches(made.key_pem, made.certificate_pem)
