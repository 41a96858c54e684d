"""Addresses that no host may have, however they are spelled: nothing is ever connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from hosts import addresses
from hosts.addresses import AddressError
from hosts.transports import Credential, Target, TransportError, open_transport
from tests.fuzz.host_values import FORM
from tests.tally import Tally, sample

DENIED = [
    "169.254.169.254", "169.254.0.1", "169.254.170.2", "224.0.0.1", "239.255.255.250", "0.0.0.7",
    "0.1.2.3", "255.255.255.255", "240.0.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
]  # fmt: skip
DENIED_V6 = ["fe80::1", "febf::1", "ff02::1", "ff0e::1", "::", "fd00:ec2::254", "fd20:ce::254"]
WIDE = {ord(digit): chr(ord(digit) + 0xFEE0) for digit in "0123456789abcdef.:"}
CIRCLED = {ord("0"): "⓪"} | {ord(str(n)): chr(0x245F + n) for n in range(1, 10)}


def spellings() -> list[str]:
    """Returns more than 500 ways to write addresses that are denied."""
    found: list[str] = []
    for text in DENIED:
        number = int(ipaddress.IPv4Address(text))
        a, b, c, d = text.split(".")
        tail = f"{int(c):02x}{int(d):02x}"
        hexed = f"{int(a):02x}{int(b):02x}:{tail}"
        found += [
            text, f"{text}.", f" {text} ", f"[{text}]", str(number), hex(number), oct(number),
            f"0x{number:x}.", f"{number:#o}".replace("0o", "0"), hex(number).upper(),
            ".".join(hex(int(part)) for part in text.split(".")),
            ".".join(f"0{int(part):o}" for part in text.split(".")),
            ".".join(f"{int(part):03}" for part in text.split(".")),
            f"{a}.{b}.{int(c) * 256 + int(d)}", f"{a}.{number & 0xFFFFFF}",
            f"0x{int(a):x}.{b}.{c}.0{int(d):o}", text.translate(WIDE), text.translate(CIRCLED),
            text.replace(".", "。"), text.replace(".", "．"), text.replace(".", "｡"),
            f"::ffff:{text}", f"::FFFF:{hexed}", f"[::ffff:{text}]", f"0:0:0:0:0:ffff:{hexed}",
            f"0000:0000:0000:0000:0000:ffff:{text}", f"::{text}", f"64:ff9b::{text}",
            f"64:ff9b::{hexed}", f"64:ff9b:1::{text}", f"::ffff:0:{text}", f"2002:{hexed}::1",
            f"2001:0:1::{(number ^ 0xFFFFFFFF) >> 16:x}:{(number ^ 0xFFFFFFFF) & 0xFFFF:x}",
            f"::ffff:{text}%1", f"http://{text}/", f"user@{text}", f"{text}:80", f"{text}/32",
            f"{text}#", f"{text}\t", f"{text}\r\n", f"{text}\0", f"\u200b{text}", f"{text}\u3000",
            f"{a}%2e{b}.{c}.{d}", f"{text}.nip.test",
        ]  # fmt: skip
    for text in DENIED_V6:
        full = ipaddress.IPv6Address(text).exploded
        found += [
            text, f"[{text}]", full, full.upper(), f"{text}%eth0", f"{text}%1",
            text.translate(WIDE), f"[{text}]:22", f"{text}/64", f" {text} ",
        ]  # fmt: skip
    found += [
        f"{name}{end}"
        for name, end in itertools.product(
            ["metadata.internal", "rebind.test", "ｍｅｔａｄａｔａ.internal", "例え.test"],
            ["", "."],
        )
    ]
    return list(dict.fromkeys(found))


async def as_the_system_does(name: str) -> Sequence[str]:
    """What a resolver answers that knows every spelling, and whose names all lead astray."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(name))]
    except OSError:
        return ["192.0.2.1", "169.254.169.254"]


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Notes whoever would be connected to; nobody is."""
    met: list[Any] = []

    async def refuse(_loop: Any, _sock: Any, address: Any) -> None:
        met.append(address)
        raise ConnectionRefusedError

    async def refuse_any(_loop: Any, _factory: Any, *where: Any, **_options: Any) -> Any:
        met.append(where)
        raise ConnectionRefusedError

    for loop in (asyncio.SelectorEventLoop,):
        monkeypatch.setattr(loop, "sock_connect", refuse)
        monkeypatch.setattr(loop, "create_connection", refuse_any)
    defaults = {**(addresses.resolve.__kwdefaults__ or {}), "lookup": as_the_system_does}
    monkeypatch.setattr(addresses.resolve, "__kwdefaults__", defaults)
    return met


def test_there_are_enough() -> None:
    assert len(spellings()) >= 500


async def test_none_is_resolved(tally: Tally) -> None:
    for spelling in spellings():
        with pytest.raises(AddressError):
            await addresses.resolve(spelling, lookup=as_the_system_does)
        tally.add("addresses", refused=True)


@pytest.mark.parametrize("transport", ["sftp", "ctrl", "jump"])
async def test_none_is_connected_to(no_connection: list[Any], transport: str) -> None:
    """The address of a host, and that of a jump host, which is connected to first."""
    for spelling in sample(spellings(), spellings()[::10]):
        target = Target(
            "host", "ctrl" if transport == "ctrl" else "sftp", mailroot="/var/MailRoot",
            address="192.0.2.1" if transport == "jump" else spelling,
            jump=f"user@{spelling}" if transport == "jump" else "",
            user="user", credential=Credential(password="secret"), trust_fingerprint="ab" * 32,
        )  # fmt: skip
        with pytest.raises(TransportError):
            async with open_transport(target):
                pass
    assert no_connection == []


async def test_a_good_address_is_connected_to(no_connection: list[Any]) -> None:
    """The negative control."""
    for transport in ("sftp", "ctrl"):
        target = Target("host", transport, address="192.0.2.1", mailroot="/m", user="user",
                        trust_fingerprint="ab" * 32)  # fmt: skip
        with pytest.raises(TransportError):
            async with open_transport(target):
                pass
    assert len(no_connection) == 2


@pytest.mark.django_db
def test_the_form_registers_none(
    operator: Client, no_connection: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number is refused at once; a name may be registered only after it was looked up."""
    for spelling in sample(spellings(), spellings()[::25]):
        answer = operator.post(reverse("host_add"), {**FORM, "address": spelling})
        assert answer.status_code == 200, spelling
        assert answer.context["form"].errors, spelling
    assert no_connection == []
