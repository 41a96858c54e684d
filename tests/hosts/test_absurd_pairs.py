"""Pairs on a host made to stop whoever reads them: found, kept and replaced like others."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certs import pair as pair_module
from certs.models import Pair
from certs.pair import MOST_BUNDLE, MOST_CERTIFICATE, MOST_KEY, load_certificates
from hosts import deploy, ledger
from hosts import facts as facts_module
from hosts.mailroot import MOST_SERVER_TAB
from hosts.models import Installation
from hosts.probe import _described
from tests.certs.test_pair_bounds import LONG, der, mersenne, pkcs1
from tests.doubles.mailroot import make_mailroot, write_pair
from tests.doubles.pairs import make_pair
from tests.factories import files, issued_pair, local_host, on_disk
from tests.hosts.diagnosing import diagnose, local
from tests.hosts.speech import spoken

PAIR = make_pair("mail.example.jp")
BLANKS = b"-----BEGIN CERTIFICATE-----\n" + b"\n" * 70_000 + b"!\n-----END CERTIFICATE-----\n"
ABSURD = {
    "long_key": (pkcs1(mersenne(LONG)), PAIR.certificate),
    "large_key": (PAIR.key + b"#" * MOST_KEY, PAIR.certificate),
    "large_certificate": (PAIR.key, PAIR.certificate + b"#" * MOST_CERTIFICATE),
    "bad_certificate": (PAIR.key, BLANKS),
}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_module, "LOOK_AGAIN_AFTER_S", (0.0, 0.0))
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


@pytest.mark.parametrize("code", ABSURD)
async def test_a_look_says_what_is_wrong(code: str, tmp_path: Path) -> None:
    key, certificate = ABSURD[code]
    found = await diagnose(make_mailroot(tmp_path / "MailRoot", key=key, certificate=certificate))
    finding = found[f"pair_{code}"]
    assert finding.level == "error"
    assert finding.remedy is not None
    if code != "bad_certificate":
        assert "larger than" in (said := spoken(finding.message)) or "8192" in said
    assert ("key_ok" in found) == (not code.endswith("key"))
    assert any(code.startswith("ca_") for code in found)


@pytest.mark.django_db
@pytest.mark.parametrize("code", ABSURD)
def test_it_is_kept_and_replaced(code: str, tmp_path: Path) -> None:
    host, other = (local_host(tmp_path, name) for name in ("mail1", "mail2"))
    key, certificate = ABSURD[code]
    write_pair(Path(host.mailroot), key=key, certificate=certificate)
    pair = issued_pair()
    list(ledger.work(deployment := deploy.create_deployment(pair, [host, other], by=None)))
    rows = {row.host: row for row in deployment.installations.all()}
    assert [row.status for row in rows.values()] == [Installation.Status.INSTALLED] * 2
    assert on_disk(host) == on_disk(other) == files(pair)
    kept = rows[host].previous_pair
    assert isinstance(kept, Pair)
    assert (kept.state, kept.private_key(), kept.certificate_file()) == (code, key, certificate)


async def test_a_large_server_tab_is_not_looked_into(tmp_path: Path) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot", key=PAIR.key, certificate=PAIR.certificate)
    text = (mailroot / "server.tab").read_bytes()
    (mailroot / "server.tab").write_bytes(text + b"\n" * MOST_SERVER_TAB)
    (finding,) = (each for each in (await diagnose(mailroot)).values() if each.level == "error")
    assert "server.tab is far too large" in spoken(finding.message)
    (mailroot / "server.tab").write_bytes(text.ljust(MOST_SERVER_TAB, b"\n"))
    assert "pair_ok" in await diagnose(mailroot)


@pytest.mark.parametrize(("most", "shown"), [(MOST_CERTIFICATE, 20), (MOST_BUNDLE, 200)])
def test_openssl_is_not_shown_hundreds_of_certificates(
    most: int, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[x509.Certificate] = []
    monkeypatch.setattr(pair_module, "_let_openssl_read", seen.append)
    assert len(load_certificates(PAIR.certificate * 300, most)) == 300
    assert len(seen) == shown


async def test_a_large_bundle_of_ca_certificates_is_not_counted(tmp_path: Path) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot", key=PAIR.key, certificate=PAIR.certificate)
    (mailroot / "certs.pem").write_bytes(PAIR.certificate * (MOST_BUNDLE // 400))
    found = await diagnose(mailroot)
    assert found["ca_large"].level == "warning"
    assert "pair_ok" in found


async def test_a_name_of_a_kind_that_cannot_be_read_is_no_crash(tmp_path: Path) -> None:
    """An x400Address among the alternative names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.jp")])
    san = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), der(0x30, der(0xA3, b"")))
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + dt.timedelta(9))
    made = builder.add_extension(san, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    mailroot = make_mailroot(
        tmp_path / "MailRoot",
        key=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate=made.public_bytes(pem),
    )
    facts = await facts_module.gather(local(mailroot), [], "", None)
    assert (facts.pair.common_name, facts.pair.has_san) == ("mail.example.jp", False)
    served = _described(made.public_bytes(serialization.Encoding.DER))
    assert (served["subject"], served["names"]) == ("CN=mail.example.jp", ())


async def test_thousands_of_names_are_not_kept_with_each_look(tmp_path: Path) -> None:
    pair = make_pair("mail.example.jp", aliases=[f"m{number}.test" for number in range(5000)])
    mailroot = make_mailroot(tmp_path / "MailRoot", key=pair.key, certificate=pair.certificate)
    facts = await facts_module.gather(local(mailroot), [], "", None)
    assert facts.pair.state == "ok"
    assert len(json.dumps(facts.to_json())) < 10_000
    assert len(json.dumps(_described(pair.der))) < 10_000
