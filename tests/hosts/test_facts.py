"""What is gathered about a host: what is read, what is not, and how often it is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import facts as facts_module
from hosts.diagnosis import Facts, findings, gather
from hosts.messages import Message
from hosts.probe import Endpoint, EndpointResult
from hosts.transports import TransportError
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import Pair, make_pair
from tests.doubles.xmail import XMail
from tests.hosts.diagnosing import NOW, ScriptedTransport, diagnose, judged, local, services


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_module, "LOOK_AGAIN_AFTER_S", (0.0, 0.0))


@pytest.fixture
def pair() -> Pair:
    return make_pair("mail.example.jp")


@pytest.fixture
def mailroot(tmp_path: Path, pair: Pair) -> Path:
    return make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)


@pytest.fixture
def xmail(mailroot: Path) -> Iterator[XMail]:
    with XMail(mailroot) as running:
        yield running


async def test_facts_become_json_without_secrets(xmail: XMail, mailroot: Path, pair: Pair) -> None:
    facts = await gather(local(mailroot), services(xmail), "127.0.0.1", pair.sha256)
    text = json.dumps(facts.to_json())
    assert "PRIVATE KEY" not in text
    assert pair.key.decode().splitlines()[1] not in text + repr(facts)
    raw = json.loads(text)
    assert raw["recorded_sha256"] == raw["pair"]["sha256"] == raw["endpoints"][0]["sha256"]
    assert raw["key"] == {"state": "ok", "mode": "0600", "uid": facts.key.uid, "gid": facts.key.gid}
    assert raw["server_tab"]["EnableSMTP-TLS"] == "1"


async def test_a_difference_is_looked_at_three_times(mailroot: Path, pair: Pair) -> None:
    looks: list[str] = []

    def serving(sha256: str) -> EndpointResult:
        return EndpointResult("smtp", 25, True, "done", Message("probe.ok"), sha256=sha256)

    def probe_for(good_at: int) -> object:
        async def probe(address: str, endpoint: Endpoint) -> EndpointResult:
            looks.append(address)
            return serving(pair.sha256 if len(looks) >= good_at else "0" * 64)

        return probe

    for good_at, count, differs in ((1, 1, False), (2, 2, False), (3, 3, False), (4, 3, True)):
        looks.clear()
        facts = await gather(
            local(mailroot), [Endpoint("smtp", 25)], "127.0.0.1", None, probe_for(good_at)  # type: ignore[arg-type]
        )  # fmt: skip
        codes = {finding.code for finding in findings(facts, NOW)}
        assert ("wire_not_disk" in codes, len(looks)) == (differs, count)


async def test_a_pair_that_is_being_switched_is_read_again(mailroot: Path, pair: Pair) -> None:
    other = make_pair()
    transport = ScriptedTransport(
        {"server.tab": b"", "server.key": other.key, "server.cert": pair.certificate}
    )
    read = transport.read

    async def read_late(path: str) -> bytes | None:
        if transport.reads.count("server.key") == 1:
            transport.files["server.key"] = pair.key
        return await read(path)

    transport.read = read_late  # type: ignore[method-assign]
    facts = await gather(transport, [], "", None)
    assert facts.pair.state == "ok"


async def test_a_forbidden_address_is_not_probed(mailroot: Path) -> None:
    async def probe(address: str, endpoint: Endpoint) -> EndpointResult:
        raise AssertionError(address)

    for address in ("169.254.169.254", "no-such-host.invalid"):
        facts = await gather(local(mailroot), [Endpoint("smtp", 25)], address, None, probe)
        assert not facts.endpoints[0].reachable
        assert facts.endpoints[0].message.code.startswith("address.")


async def test_a_key_that_the_portal_may_not_read(xmail: XMail, pair: Pair) -> None:
    denied = TransportError(Message("transport.denied", {"path": "server.key"}), permanent=True)
    transport = ScriptedTransport(
        {"server.tab": b"", "server.key": denied, "server.cert": pair.certificate}
    )
    facts = await gather(transport, [], "", None)
    found = judged(facts)
    assert (found["pair_unknown"].level, found["key_unreadable"].level) == ("warning", "warning")
    assert found["not_readable"].message == denied.message
    served = await gather(transport, services(xmail), "127.0.0.1", None)
    assert judged(served)["pair_ok"].level == "ok"  # the handshake proves it


async def test_a_key_is_not_read_over_an_unsafe_channel(pair: Pair) -> None:
    transport = ScriptedTransport(
        {"server.tab": b"", "server.key": pair.key, "server.cert": pair.certificate},
        confidential=False,
    )
    found = judged(await gather(transport, [], "", None))
    assert "server.key" not in transport.reads
    assert found["key_unseen"].level == "ok"
    del transport.files["server.key"]
    found = judged(await gather(transport, [], "", None))
    assert found["pair_missing_key"].level == "error"


async def test_a_host_that_cannot_be_reached(tmp_path: Path) -> None:
    found = await diagnose(tmp_path / "missing")
    assert found["not_reached"].level == "error"
    assert (found["pair_unknown"].level, found["key_unknown"].level) == ("warning", "warning")


async def test_a_host_that_was_not_even_tried() -> None:
    facts = Facts.unreachable(Message("diagnosis.not_reached"), [Endpoint("smtp", 25)], "ab")
    found = judged(facts)
    assert found["not_reached"].level == "error"
    assert "none_reachable" not in found
    assert "no_endpoint" not in found


async def test_a_directory_that_is_no_mailroot(tmp_path: Path) -> None:
    assert (await diagnose(tmp_path))["no_mailroot"].level == "error"


async def test_a_pair_waits_in_sslconf(mailroot: Path, pair: Pair) -> None:
    (mailroot / "sslconf").mkdir()
    (mailroot / "sslconf" / "server.cert").write_bytes(pair.certificate)
    assert "placed" not in await diagnose(mailroot)
    (mailroot / "sslconf" / "server.cert").write_bytes(make_pair().certificate)
    assert (await diagnose(mailroot))["placed"].level == "info"
