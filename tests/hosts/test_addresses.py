"""Addresses that must be refused, in the many ways in which they can be written."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts import addresses
from hosts.addresses import AddressError, Lookup

METADATA = ipaddress.IPv4Address("169.254.169.254")


def answering(*ips: str) -> Lookup:
    async def lookup(name: str) -> Sequence[str]:
        return ips

    return lookup


def spellings(ip: ipaddress.IPv4Address) -> list[str]:
    """Ways to write an IPv4 address that some resolver or another understands."""
    number = int(ip)
    a, b, c, d = ip.packed
    low = f"{c:02x}{d:02x}"
    high = f"{a:02x}{b:02x}"
    return [
        str(ip),
        str(number),
        hex(number),
        oct(number).replace("0o", "0"),
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"{ip}.",
        f"::ffff:{ip}",
        f"[::ffff:{ip}]",
        f"::ffff:{high}:{low}",
        f"::ffff:0:{ip}",
        f"::{ip}",
        f"64:ff9b::{ip}",
        f"64:ff9b:1::{ip}",
        f"2002:{high}:{low}::1",
        str(ip).translate(str.maketrans("0123456789", "０１２３４５６７８９")),
        str(ip).replace(".", "。"),
    ]


def local_nat64(ip: str, rest: str) -> list[ipaddress.IPv6Address]:
    """The address by each prefix length of RFC 6052 that NAT64's local network has room for."""
    prefix, inner = bytes.fromhex("0064ff9b0001"), ipaddress.IPv4Address(ip).packed
    found = [
        prefix + inner[:2] + b"\0" + inner[2:],
        prefix + b"\0" + inner[:1] + b"\0" + inner[1:],
        prefix + b"\0\0\0" + inner,
        prefix + b"\0\0\0\0\0\0" + inner,
    ]
    return [
        ipaddress.IPv6Address(each + bytes.fromhex(rest)[: 16 - len(each)] * (len(each) < 16))
        for each in found
    ]


@pytest.mark.parametrize("rest", ["00" * 16, "ff" * 16, "0000000a000001".ljust(32, "0")])
@pytest.mark.parametrize(
    "ip", ["169.254.169.254", "169.254.0.1", "224.0.0.1", "255.255.255.255", "100.100.100.200"]
)
def test_what_is_behind_a_local_nat64_is_refused_whatever_its_prefix(ip: str, rest: str) -> None:
    for address in local_nat64(ip, rest):
        assert addresses.is_denied(address), address


def test_a_mail_server_behind_a_local_nat64_is_not() -> None:
    for address in local_nat64("192.0.2.25", "00" * 15 + "01"):
        if int(address) & 0xFFFFFF:  # what ends in zeros may be 0.0.0.0 for another layout
            assert not addresses.is_denied(address), address


@pytest.mark.parametrize("address", spellings(METADATA))
async def test_metadata_service_is_refused_however_it_is_written(address: str) -> None:
    with pytest.raises(AddressError):
        await addresses.resolve(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104
        "0.1.2.3",
        "255.255.255.255",
        "240.0.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "::",
        "ff02::1",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "feff::ffff",
        "2001:db8::5efe:a9fe:a9fe",
        "2001:db8::200:5efe:169.254.169.254",
        "fe80::1%eth0",
        "2001:db8::1%eth0",
        "fd00:ec2::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "::ffff:224.0.0.1",
        "::ffff:0.0.0.0",
        "64:ff9b::0.0.0.0",
        "64:ff9b::e000:1",
    ],
)
async def test_addresses_that_no_host_has_are_refused(address: str) -> None:
    with pytest.raises(AddressError) as caught:
        await addresses.resolve(address)
    assert caught.value.message.code == "address.denied"
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("address", "connects_to"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("10.0.0.8", "10.0.0.8"),
        ("172.16.0.1", "172.16.0.1"),
        ("192.168.1.5", "192.168.1.5"),
        ("fd12:3456::1", "fd12:3456::1"),
        ("203.0.113.9", "203.0.113.9"),
        ("64:ff9b::203.0.113.9", "64:ff9b::cb00:7109"),
    ],
)
async def test_loopback_private_and_public_addresses_are_normal(
    address: str, connects_to: str
) -> None:
    assert await addresses.resolve(address) == connects_to


@pytest.mark.parametrize(
    "address",
    ["", " ", "a b", "a\nb", "a\x00b", "-a.test", "a..b", "a" * 64 + ".test", "127.1", "1", "0x7f"],
)
async def test_what_is_no_address_never_reaches_the_resolver(address: str) -> None:
    async def lookup(name: str) -> Sequence[str]:
        raise AssertionError(name)

    with pytest.raises(AddressError) as caught:
        await addresses.resolve(address, lookup=lookup)
    assert caught.value.message.code == "address.malformed"


async def test_a_name_is_refused_if_any_answer_is_denied() -> None:
    with pytest.raises(AddressError) as caught:
        await addresses.resolve("mail.test", lookup=answering("192.0.2.1", "169.254.169.254"))
    assert caught.value.message.params == {"name": "mail.test", "address": "169.254.169.254"}


async def test_a_rebinding_name_is_resolved_once_and_only_its_checked_answer_is_used() -> None:
    answers = iter(["192.0.2.1", "169.254.169.254"])
    asked = []

    async def lookup(name: str) -> Sequence[str]:
        asked.append(name)
        return [next(answers)]

    assert await addresses.resolve("rebind.test", lookup=lookup) == "192.0.2.1"
    assert len(asked) == 1
    with pytest.raises(AddressError):
        await addresses.resolve("rebind.test", lookup=lookup)


async def test_ipv4_comes_first_because_xmail_listens_there() -> None:
    assert await addresses.resolve("a.test", lookup=answering("::1", "127.0.0.1")) == "127.0.0.1"
    assert await addresses.resolve("a.test", lookup=answering("fd12::1")) == "fd12::1"


async def test_international_names_are_looked_up_as_a_labels() -> None:
    asked = []

    async def lookup(name: str) -> Sequence[str]:
        asked.append(name)
        return ["192.0.2.1"]

    await addresses.resolve("例え.テスト", lookup=lookup)
    assert asked == ["xn--r8jz45g.xn--zckzah"]


@pytest.mark.parametrize("answers", [None, [], ["garbage"], ["192.0.2.1", "10.0.0.1%x"]])
async def test_unknown_name_is_not_a_permanent_error(answers: list[str] | None) -> None:
    async def lookup(name: str) -> Sequence[str]:
        if answers is None:
            raise OSError
        return answers

    with pytest.raises(AddressError) as caught:
        await addresses.resolve("nobody.test", lookup=lookup)
    assert not caught.value.permanent


async def test_slow_resolver_is_given_up() -> None:
    async def lookup(name: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(AddressError) as caught:
        await addresses.resolve("slow.test", lookup=lookup, timeout_s=0.01)
    assert caught.value.message.code == "address.unknown"


async def test_names_whose_dns_is_silent_keep_no_other_name_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, over = socket.getaddrinfo, threading.Event()

    def resolver(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("silent"):
            over.wait(10)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    silent = [
        asyncio.create_task(addresses.resolve(f"silent{number}.test", timeout_s=5))
        for number in range(50)
    ]
    await asyncio.sleep(0)
    try:
        assert await addresses.resolve("localhost", timeout_s=1) == "127.0.0.1"
    finally:
        over.set()
        await asyncio.gather(*silent, return_exceptions=True)


async def test_allow_list_keeps_hosts_in_its_networks() -> None:
    allowed = [ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("fd12::/16")]
    assert await addresses.resolve("192.0.2.7", allowed) == "192.0.2.7"
    assert await addresses.resolve("::ffff:192.0.2.7", allowed) == "192.0.2.7"
    for outside in ("192.0.3.1", "127.0.0.1", "::1"):
        with pytest.raises(AddressError) as caught:
            await addresses.resolve(outside, allowed)
        assert caught.value.message.code == "address.not_in_allowed_networks"
    both = answering("198.51.100.1", "192.0.2.9")
    assert await addresses.resolve("a.test", allowed, lookup=both) == "192.0.2.9"


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_out_of_range(port: int) -> None:
    with pytest.raises(AddressError):
        addresses.check_port(port)
    assert addresses.check_port(465) == 465


@given(st.ip_addresses(network="169.254.0.0/16") | st.ip_addresses(network="224.0.0.0/3"))
def test_denied_ranges_stay_denied_inside_ipv6(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    for prefix in ("::ffff:", "64:ff9b::", "::", "::ffff:0:"):
        assert addresses.is_denied(ipaddress.IPv6Address(f"{prefix}{ip}"))
