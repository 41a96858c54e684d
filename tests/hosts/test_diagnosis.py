"""From a host to findings: real files, real handshakes, and what follows from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hosts import facts as facts_module
from hosts.diagnosis import Facts, Finding, covers, findings, gather
from hosts.facts import FileFacts
from hosts.messages import Message
from hosts.probe import ENDPOINT_NAMES, Endpoint, EndpointResult
from hosts.transports import Target, TransportError
from tests.doubles.mailroot import make_mailroot, write_pair, write_settings
from tests.doubles.pairs import Pair, dated, make_pair
from tests.doubles.xmail import XMail
from tests.hosts.diagnosing import NOW, ScriptedTransport, diagnose, judged, local, services
from tests.hosts.speech import spoken

HEALTHY = {"pair_ok", "key_ok", "ca_none", "endpoints_ok", "xmail_weaknesses"}


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


async def test_a_healthy_host(xmail: XMail, mailroot: Path, pair: Pair) -> None:
    facts = await gather(local(mailroot), services(xmail), "127.0.0.1", pair.sha256)
    found = judged(facts)
    assert set(found) == HEALTHY
    assert {finding.level for finding in found.values()} == {"ok", "info"}
    assert facts.proven
    assert "mail.example.jp" in spoken(found["pair_ok"].message)


@pytest.mark.parametrize(
    ("fault", "first", "second"),
    [
        ("mismatch", "pair_mismatch", "key_ok"),
        ("no key", "pair_missing_key", "key_missing"),
        ("no certificate", "pair_missing_certificate", "key_ok"),
        ("passphrase", "pair_encrypted_key", "key_encrypted"),
        ("weak", "pair_weak", "key_weak"),
        ("bad key", "pair_bad_key", "key_bad"),
        ("bad certificate", "pair_bad_certificate", "key_ok"),
    ],
)
async def test_an_unusable_pair(
    xmail: XMail, mailroot: Path, fault: str, first: str, second: str
) -> None:
    good, locked, weak = make_pair(), make_pair(password=b"x"), make_pair(kind="rsa1024")
    key, certificate = {
        "mismatch": (make_pair().key, good.certificate),
        "no key": (None, good.certificate),
        "no certificate": (good.key, None),
        "passphrase": (locked.key, locked.certificate),
        "weak": (weak.key, weak.certificate),
        "bad key": (b"nonsense", good.certificate),
        "bad certificate": (good.key, good.der),
    }[fault]
    write_pair(mailroot, key, certificate)
    found = await diagnose(mailroot, xmail)
    assert found[first].level == "error"
    assert second in found
    assert found["endpoint_handshake"].level == "error"
    assert "endpoints_ok" not in found


async def test_a_certificate_that_only_xmail_can_read(xmail: XMail, mailroot: Path) -> None:
    write_pair(mailroot, *dated("20260101000000Z", "20501231235999Z"))
    found = await diagnose(mailroot, xmail)
    assert "pair_bad_certificate" not in found
    odd = found["pair_odd_certificate"]
    assert odd.level == "warning"
    assert "although 6 of the services complete a TLS handshake" in spoken(odd.message)


async def test_no_pair_is_a_warning_until_one_was_installed(mailroot: Path, pair: Pair) -> None:
    write_pair(mailroot, None, None)
    assert (await diagnose(mailroot))["pair_none"].level == "warning"
    found = await diagnose(mailroot, recorded=pair.sha256)
    assert (found["pair_none"].level, found["key_missing"].level) == ("error", "error")


@pytest.mark.parametrize(
    ("settings", "bundle", "directory", "code", "level"),
    [
        ({}, None, [], "ca_none", "info"),
        ({}, "good", [], "ca_ok", "ok"),
        ({}, None, ["1a2b3c4d.0"], "ca_ok", "ok"),
        ({}, None, ["readme.txt"], "ca_none", "info"),
        ({}, "bad", [], "ca_bad", "warning"),
        ({"SSLWantVerify": "1"}, None, [], "ca_missing", "warning"),
        ({"SSLWantCert": "1"}, None, [], "ca_missing", "warning"),
        ({"SSLWantVerify": "1"}, "good", [], "ca_unused", "warning"),
        ({"SSLWantVerify": "1", "SSLUseCertsDir": "1"}, "good", [], "ca_unused", "warning"),
        ({"SSLWantVerify": "1", "SSLUseCertsFile": "1"}, "good", [], "ca_ok", "ok"),
        ({"SSLWantVerify": "1", "SSLUseCertsDir": "1"}, None, ["1a2b3c4d.0"], "ca_ok", "ok"),
        ({"SSLWantVerify": "1", "SSLUseCertsFile": "1"}, "bad", [], "ca_bad_breaks", "error"),
    ],
)
async def test_ca_certificates(
    mailroot: Path,
    settings: dict[str, str],
    bundle: str | None,
    directory: list[str],
    code: str,
    level: str,
) -> None:
    write_settings(mailroot, settings)
    if bundle:
        data = make_pair("ca.test", ca=True).certificate * 2 if bundle == "good" else b"nonsense"
        (mailroot / "certs.pem").write_bytes(data)
    (mailroot / "certs").mkdir()
    for name in directory:
        (mailroot / "certs" / name).write_bytes(b"")
    assert (await diagnose(mailroot))[code].level == level


@pytest.mark.parametrize(
    ("mode", "code", "level"),
    [(0o666, "key_open_to_all", "error"), (0o604, "key_open_to_all", "error"),
     (0o640, "key_open_to_group", "warning"), (0o600, "", ""), (0o400, "", "")],
)  # fmt: skip
async def test_a_key_that_others_may_read(mailroot: Path, mode: int, code: str, level: str) -> None:
    (mailroot / "server.key").chmod(mode)
    found = await diagnose(mailroot)
    assert {each for each in found if each.startswith("key_open")} == ({code} if code else set())
    if code:
        assert found[code].level == level
        assert f"chmod 600 {mailroot}/server.key" in spoken(found[code].remedy or Message(""))


async def test_permissions_that_cannot_be_seen(pair: Pair) -> None:
    files: dict[str, bytes | TransportError] = {
        "server.tab": b"",
        "server.key": pair.key,
        "server.cert": pair.certificate,
    }
    found = judged(await gather(ScriptedTransport(files), [], "", None))
    assert found["mode_unseen"].level == "info"
    windows = Target("w", "ctrl", os="windows", mailroot="C:\\MailRoot")
    found = judged(await gather(ScriptedTransport(files, target=windows), [], "", None))
    assert "C:\\MailRoot\\server.key" in spoken(found["mode_windows"].message)
    assert "mode_unseen" not in found


def facts_with(**values: object) -> Facts:
    return replace(Facts(reachable=True, is_mailroot=True, mailroot="/var/Mail Root"), **values)  # type: ignore[arg-type]


def test_a_key_that_xmail_may_not_read() -> None:
    def owned(uid: int, mode: int, mailroot_uid: int) -> dict[str, Finding]:
        key = FileFacts("ok", mode, uid, uid)
        return judged(facts_with(key=key, mailroot_uid=mailroot_uid))

    found = owned(0, 0o600, 1001)
    assert found["key_owner"].level == "warning"
    assert found["key_owner"].remedy == Message(
        "remedy.run", {"command": "chown 1001 '/var/Mail Root/server.key'"}
    )
    assert "key_owner" not in owned(1001, 0o600, 1001)
    assert "key_owner" not in owned(1001, 0o600, 0)  # an XMail that runs as root reads it
    assert "key_owner" not in owned(0, 0o640, 1001)
    path = "'/var/Mail Root/server.key'"
    assert owned(0, 0o640, 1001)["key_open_to_group"].remedy == Message(
        "remedy.run", {"command": f"chown 1001 {path} && chmod 600 {path}"}
    )


@pytest.mark.parametrize(
    ("days", "code", "level"),
    [(-1, "expired", "error"), (29, "expires_soon", "warning"), (31, "", "")],
)
async def test_expiry(mailroot: Path, days: int, code: str, level: str) -> None:
    ending = make_pair(
        not_before=NOW - dt.timedelta(days=60), not_after=NOW + dt.timedelta(days=days, hours=1)
    )
    write_pair(mailroot, ending.key, ending.certificate)
    found = await diagnose(mailroot)
    assert set(found) & {"expired", "expires_soon"} == ({code} if code else set())
    if code:
        assert found[code].level == level


async def test_a_certificate_of_the_future(mailroot: Path) -> None:
    young = make_pair(not_before=NOW + dt.timedelta(days=1))
    write_pair(mailroot, young.key, young.certificate)
    assert (await diagnose(mailroot))["not_yet_valid"].level == "warning"


async def test_certificates_that_thunderbird_refuses(mailroot: Path, pair: Pair) -> None:
    assert not {"no_san", "is_ca"} & set(await diagnose(mailroot))
    bad = make_pair(aliases=[], ca=True)
    write_pair(mailroot, bad.key, bad.certificate)
    found = await diagnose(mailroot)
    assert (found["no_san"].level, found["is_ca"].level) == ("warning", "warning")


@pytest.mark.parametrize(
    ("address", "expected"),
    [("mail.example.jp", False), ("pop.example.jp", True), ("192.0.2.1", True),
     ("localhost", False), ("127.0.0.1", False), ("", False)],
)  # fmt: skip
async def test_the_address_in_the_certificate(mailroot: Path, address: str, expected: bool) -> None:
    facts = await gather(local(mailroot), [], address, None)
    assert ("address_not_named" in judged(facts)) is expected


@pytest.mark.parametrize(
    ("names", "address", "expected"),
    [
        (["a.jp"], "A.JP.", True),
        (["*.a.jp"], "mail.a.jp", True),
        (["*.a.jp"], "a.jp", False),
        (["*.a.jp"], "x.mail.a.jp", False),
        (["*.jp"], "jp", False),
        (["::1", "192.0.2.1"], "192.0.2.1", True),
        (["0:0::1"], "::1", True),
        (["a.jp"], "192.0.2.1", False),
    ],
)
def test_names_that_cover_an_address(names: list[str], address: str, expected: bool) -> None:
    assert covers(names, address) is expected


async def test_tls_switched_off(xmail: XMail, mailroot: Path) -> None:
    off = {f"Enable{name}-TLS": "0" for name in ("SMTP", "POP3", "CTRL")}
    write_settings(mailroot, off)
    facts = await gather(local(mailroot), services(xmail), "127.0.0.1", None)
    found = [(finding.code, finding.level) for finding in findings(facts, NOW)]
    assert found.count(("tls_off", "warning")) == 2
    assert ("ctrl_tls_off", "info") in found
    assert not any(code.startswith("endpoint_") for code, _ in found)  # said once is enough
    judged(facts)
    only_tls = await gather(local(mailroot), services(xmail, "smtps"), "127.0.0.1", None)
    assert judged(only_tls)["tls_off_unused"].level == "info"


async def test_tls_switched_off_on_a_host_whose_files_cannot_be_read(xmail: XMail) -> None:
    write_settings(xmail.mailroot, {"EnableSMTP-TLS": "0"})
    away = ScriptedTransport({}, fails=TransportError(Message("transport.silent")))
    facts = await gather(away, services(xmail, "smtp", "smtps"), "127.0.0.1", None)
    codes = [finding.code for finding in findings(facts, NOW)]
    assert "endpoint_command" in codes
    assert codes[:3] == ["pair_on_wire", "key_on_wire", "ca_unknown"]


async def test_client_certificates(xmail: XMail, mailroot: Path) -> None:
    write_settings(mailroot, {"SSLWantCert": "1"})
    found = await diagnose(mailroot, xmail)
    assert found["want_cert"].level == "warning"
    assert found["endpoint_handshake"].remedy == Message("remedy.client_certificate")
    write_settings(mailroot, {"SSLWantVerify": "1"})
    assert (await diagnose(mailroot, xmail))["want_verify"].level == "info"


async def test_recorded_disk_and_wire(xmail: XMail, mailroot: Path, pair: Pair) -> None:
    other = make_pair()
    found = await diagnose(mailroot, xmail)
    assert found["unrecorded"].level == "info"
    found = await diagnose(mailroot, xmail, recorded=other.sha256)
    assert found["disk_not_recorded"].level == "warning"
    assert found["wire_not_recorded"].level == "warning"
    assert "wire_not_disk" not in found
    assert "endpoints_ok" not in found
    elsewhere = make_mailroot(mailroot.parent / "b", key=other.key, certificate=other.certificate)
    found = await diagnose(elsewhere, xmail, recorded=other.sha256)
    assert found["wire_not_disk"].level == "error"
    assert "disk_not_recorded" not in found
    assert found["pair_ok"].level == "ok"


async def test_no_service_answers(xmail: XMail, mailroot: Path) -> None:
    for name in ENDPOINT_NAMES:
        xmail.refuse(name)
    found = await diagnose(mailroot, xmail)
    assert found["none_reachable"].level == "warning"
    assert not any(code.startswith("endpoint_") for code in found)
    assert not any(finding.level == "error" for finding in found.values())


async def test_one_service_does_not_answer(xmail: XMail, mailroot: Path) -> None:
    xmail.refuse("pop3s")
    found = await diagnose(mailroot, xmail)
    assert found["endpoint_connect"].level == "warning"
    assert "POP3S" in spoken(found["endpoint_connect"].message)
    assert "none_reachable" not in found


async def test_nothing_to_look_at(mailroot: Path) -> None:
    assert (await diagnose(mailroot))["no_endpoint"].level == "info"
    off = await gather(local(mailroot), [Endpoint("submission", 0)], "127.0.0.1", None)
    assert judged(off)["no_endpoint"].level == "info"
    nowhere = await gather(local(mailroot), [Endpoint("smtp", 25)], "", None)
    assert judged(nowhere)["no_address"].level == "info"


def test_old_tls_is_reported() -> None:
    old = EndpointResult(
        "smtps", 465, True, "done", Message("probe.ok"), sha256="ab", tls_version="TLSv1"
    )
    assert judged(facts_with(endpoints=(old,)))["old_tls"].level == "warning"
