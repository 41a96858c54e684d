"""Strings that would be further CTRL commands, further headers, or a way to another site."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from hosts.ctrl import CtrlError, Session
from hosts.ctrl_text import canonical
from hosts.transports import Credential, Target, TransportError, open_transport
from tests.doubles.mailroot import PASSWORD, USER, make_mailroot
from tests.doubles.pairs import Pair, make_pair
from tests.doubles.xmail import XMail
from tests.fuzz.conftest import examples
from tests.tally import Tally

pieces = st.sampled_from(
    ["\r\n", "\n", "\r", "\t", "\0", '"', '"\t"', '"quit"', '"\r\n"userdel"\t"a"\t"b"\r\n', ".",
     "\r\n.\r\n", '\r\n.\r\n"cfgfileset"\t"server.tab"\r\n', "#!TLS", "server.cert", "..", "/", " ",
     "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "日本", "a"]
)  # fmt: skip
strings = st.lists(pieces, min_size=1, max_size=6).map("".join)
VERBS = ('"cfgfileget"', '"cfgfileset"', '"filelist"', '"quit"')


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair("first.test")


@pytest.fixture(scope="module")
def xmail(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[XMail]:
    root = make_mailroot(
        tmp_path_factory.mktemp("xmail") / "MailRoot", key=pair.key, certificate=pair.certificate
    )
    with XMail(root) as running:
        yield running


def login_line(line: str) -> bool:
    return line.count("\t") == 1 and '"#' in line


@examples(500)
@given(strings)
def test_no_string_becomes_another_command(xmail: XMail, tally: Tally, text: str) -> None:
    """As a user, a path, a directory, a pattern and as the content of a file."""

    async def session() -> Session:
        return await Session.open("127.0.0.1", xmail.ports["ctrl"], timeout_s=5)

    async def attack() -> None:
        for attempt in ("user", "get", "put", "files", "data", "data at once"):
            link = await session()
            with contextlib.suppress(CtrlError, UnicodeEncodeError):
                await link.login(text if attempt == "user" else USER, PASSWORD)
                if attempt == "get":
                    await link.get(text)
                elif attempt == "put":
                    await link.write(text, b"x\n")
                elif attempt == "files":
                    await link.files("sslconf", text)
                    await link.files(text, "*")
                elif attempt == "data":
                    await link.write("sslconf/data", text.encode())
                elif attempt == "data at once":
                    await link.write("sslconf/data", text.encode(), at_once=True)
            link.quit()

    before, uploads = len(xmail.seen.commands), len(xmail.seen.uploads)
    asyncio.run(attack())
    lines = [line for _service, line in xmail.seen.commands[before:]]
    extra = [line for line in lines if not line.startswith(VERBS) and not login_line(line)]
    assert extra == []
    assert not [line for line in lines if "userdel" in line and not login_line(line)]
    leaves = sum(line.startswith('"quit"') for _service, line in xmail.seen.commands)
    assert leaves <= xmail.seen.logins, "each session takes leave once"
    for path, data in xmail.seen.uploads[uploads:]:
        assert path != "server.tab"
        if path == "sslconf/data":
            # Line for line what was sent; XMail drops every CR at an end.
            kept, sent = ([line.rstrip(b"\r") for line in canonical(content).split(b"\n")]
                          for content in (data, text.encode()))  # fmt: skip
            assert kept == sent
    tally.add("injection")


async def test_no_host_of_that_user_is_talked_to(tmp_path: Path, pair: Pair) -> None:
    """Through the transport, as the form would let it be registered."""
    root = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)
    with XMail(root, services=["ctrl"]) as xmail:
        await _talk_to(xmail, pair)
    lines = [line for _service, line in xmail.seen.commands if line != "#!TLS"]
    assert lines == []


async def _talk_to(xmail: XMail, pair: Pair) -> None:
    for user in ('a"\t"b', "a\r\nb", "a\tb", "a\0b", '"'):
        target = Target(
            "host", "ctrl", address="127.0.0.1", port=xmail.ports["ctrl"], user=user,
            credential=Credential(password="x"), trust_fingerprint=pair.sha256,
        )  # fmt: skip
        with pytest.raises(TransportError):
            async with open_transport(target):
                pass


nexts = st.lists(
    st.sampled_from(
        ["\r\n", "\n", "\r", "\t", "\0", "Set-Cookie: a=b", "Location: https://evil.test/", "//",
         "https:", "http:", "evil.test", "\\", "/", "@", "javascript:alert(1)", "%0d%0a", "%0a",
         "?", "#", "\u560a\u560d", "///evil.test", "/\\evil.test", "data:text/html,x", ".",
         " ", "ｅvil"]
    ),
    min_size=1, max_size=6,
).map("".join)  # fmt: skip
KNOWN = {
    "content-type", "location", "vary", "content-language", "x-frame-options", "content-length",
    "x-content-type-options", "referrer-policy", "cross-origin-opener-policy", "cache-control",
    "content-security-policy", "expires", "set-cookie", "permissions-policy",
}  # fmt: skip


@pytest.mark.django_db
@examples(500)
@given(nexts)
def test_no_string_becomes_another_header_or_leads_away(
    operator: Client, tally: Tally, text: str
) -> None:
    answers = [
        operator.post(reverse("set_language"), {"language": "ja", "next": text}),
        operator.post(reverse("set_language"), {"language": text, "next": "/"}),
        operator.get(reverse("account_login"), {"next": text}),
        operator.get(reverse("account_reauthenticate"), {"next": text}),
        operator.get(
            reverse("host_list"), {"q": text, "sort": text.replace(".", ""), "page": text}
        ),
        operator.get("/" + text.lstrip("/\\"), follow=False),
        operator.get(reverse("dashboard"), headers={"referer": text.replace("\n", "")}),
    ]
    for answer in answers:
        assert answer.status_code < 500
        assert {name.lower() for name in answer.headers} <= KNOWN
        for value in answer.headers.values():
            assert not set("\r\n\0") & set(str(value))
        location = answer.headers.get("Location", "").replace("\t", "")
        where = urlsplit(location)
        assert where.netloc in ("", "testserver"), location
        assert where.scheme in ("", "http", "https")
        # As browsers read it: tabs are passed over, and a host comes after two slashes of any kind.
        assert not re.match(r"[/\\]{2}", location), location
    tally.add("injection")
