"""The form of a host against what anybody may type, and where an accepted one would lead."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from hosts import addresses, mailroot
from hosts.models import Host
from tests.certs.test_spec import near_names
from tests.fuzz.conftest import Sender, examples
from tests.fuzz.host_values import FORM
from tests.fuzz.test_addresses import spellings
from tests.tally import Tally

pytestmark = pytest.mark.django_db

words = st.text(max_size=120) | st.text("\r\n\t\0\"'<>&%;|`$() \u202e日本", max_size=30)
paths = st.lists(
    st.sampled_from(
        ["/", "..", ".", "\\", "C:", "c:\\", "\\\\server\\share", "MailRoot", "~", "$HOME", "%00",
         "\0", "\n", "\t", "*", "?", "|", " ", "日本", "x" * 250, "%2e%2e", "..%2f", "\u2028"]
    ),
    max_size=8,
).map("".join)  # fmt: skip
ports = st.integers(-70_000, 140_000).map(str) | st.text("0123456789.-+e x\0１", max_size=8)
values: dict[str, st.SearchStrategy[str]] = {
    "name": words,
    "address": near_names | st.sampled_from(spellings()) | words,
    "user": words,
    "mailroot": paths | words,
    "jump": st.builds("{}@{}".format, words, near_names) | words,
    "trust_fingerprint": st.text("0123456789abcdefABCDEF:=+/SHA256 ", max_size=110) | words,
    "port": ports,
    "smtp_port": ports,
    "ctrls_port": ports,
    "transport": st.sampled_from(["local", "sftp", "ctrl", "ftp", "", "LOCAL", "../sftp", "\0"]),
    "os": st.sampled_from(["unix", "windows", "", "dos", "\0"]),
    "memo": words,
    "password": words,
    "private_key": words,
    "passphrase": words,
    "confirmed": st.text("0123456789abcdef:", max_size=110),
}
changes = st.lists(
    st.sampled_from(sorted(values)).flatmap(
        lambda name: st.tuples(st.just(name), values[name])
    ),
    min_size=1, max_size=3, unique_by=lambda pair: pair[0],
).map(dict)  # fmt: skip


@pytest.fixture
def sender(operator: Client, tally: Tally) -> Sender:
    return Sender(operator, tally, reverse("host_add"))


@examples(2500)
@given(changes, st.sampled_from(["local", "sftp", "ctrl"]))
def test_whatever_is_typed(
    sender: Sender, nobody_there: list[Any], changed: dict[str, str], transport: str
) -> None:
    nobody_there.clear()
    data = {**FORM, "transport": transport, **changed}
    answer = sender.send("host", data)
    for target in nobody_there:
        # Whoever is looked at has an address and a path of the one form that is safe to use.
        assert target.transport in ("local", "sftp", "ctrl")
        parsed = addresses.parse(target.address)
        if not isinstance(parsed, str):
            assert not addresses.is_denied(parsed)
        assert str(parsed) == target.address
        if target.mailroot or target.transport != "ctrl":
            assert mailroot.check_path(target.mailroot, target.os) is None
        assert target.trust_fingerprint == "" or re.fullmatch(
            "[0-9a-f]{64}", target.trust_fingerprint
        )
    if answer.accepted:
        assert nobody_there, "nothing is saved that was not looked at"


def test_a_good_form_is_accepted(sender: Sender, nobody_there: list[Any]) -> None:
    """The negative control: refusals are earned."""
    for transport in ("local", "sftp", "ctrl"):
        assert sender.send("host", {**FORM, "transport": transport}).accepted
    assert len(nobody_there) == 6
    assert not Host.objects.exists()
