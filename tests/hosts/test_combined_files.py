"""A host whose server.cert holds the private key too: it is given back, and shown to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from certs.models import Pair
from hosts.models import Host
from tests import people
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.hosts.commands import kept, made_pair, ports, run, run_json
from tests.servers import SSHServer

pytestmark = pytest.mark.django_db

OLD, OTHER = make_pair("old.test"), make_pair("other.test")
COMBINED = b"# both\n" + OTHER.key + OLD.certificate + OLD.key + OTHER.certificate
CERTIFICATES = OLD.certificate + OTHER.certificate
SECRETS = [b"PRIVATE KEY", *(key.splitlines()[2] for key in (OLD.key, OTHER.key))]
PAGES = ("pair_detail", "pair_text", "pair_certificate", "pair_der")


@pytest.fixture(autouse=True)
def _brisk(brisk_ctrl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    root = make_mailroot(tmp_path / "MailRoot", key=OLD.key, certificate=COMBINED)
    (root / "server.cert").chmod(0o600)
    return root


@pytest.fixture
def xmail(mailroot: Path) -> Iterator[XMail]:
    with XMail(mailroot) as running:
        yield running


@pytest.fixture(params=["local", "sftp", "ctrl"])
def add(request: pytest.FixtureRequest, xmail: XMail, mailroot: Path, tmp_path: Path) -> list[str]:
    """The command that registers the host by each transport."""
    words = ["add_host", "comb", "--transport", request.param, "--mailroot", str(mailroot)]
    if request.param == "sftp":
        server: SSHServer = request.getfixturevalue("ssh_server")
        key = kept(tmp_path / "client_key", server.client_key.export_private_key())
        trusted = server.host_key.get_fingerprint("sha256")
        words += ["--port", str(server.port), "--user", server.user, "--key-file", key]
        words += ["--trust-fingerprint", trusted]
    elif request.param == "ctrl":
        password = kept(tmp_path / "password", xmail.password)
        words += ["--port", str(xmail.ports["ctrl"]), "--user", xmail.user]
        words += ["--password-file", password, "--trust-fingerprint", OLD.sha256]
    return words + ports(xmail)


def rows() -> bytes:
    """All that the database holds."""
    found = []
    for model in apps.get_models():
        for values in model._base_manager.values_list():
            found += [bytes(each) if isinstance(each, memoryview) else each for each in values]
    return repr(found).encode()


def secrets_in(data: bytes) -> list[bytes]:
    return [secret for secret in SECRETS if secret in data]


@pytest.mark.usefixtures("open_umask")
def test_it_is_found_sealed_shown_to_nobody_and_put_back(
    add: list[str], mailroot: Path, xmail: XMail
) -> None:
    added = run(*add)
    assert added.status == 0, added
    found = run_json("diagnose_hosts").json["findings"]
    (finding,) = [row for row in found if row["code"] == "key_in_certificate"]
    assert finding["level"] == "warning"
    installed = made_pair("mail.dojo.jp", "--install", "comb")
    assert installed.statuses == ["INSTALLED"], installed
    assert (mailroot / "server.cert").read_bytes().count(b"BEGIN") == 1
    codes = {row["code"] for row in run_json("diagnose_hosts").json["findings"]}
    assert "key_in_certificate" not in codes

    pair = Pair.objects.get(origin=Pair.Origin.ADOPTED)
    assert (pair.usable, pair.sha256) == (True, OLD.sha256)
    assert not secrets_in(rows())
    viewer = people.signed_in(people.person("viewer"))
    host = Host.objects.get()
    pages = [reverse(name, args=[pair.pk]) for name in PAGES]
    pages += [reverse(name) for name in ("pair_list", "installation_list", "deployment_list")]
    pages += [reverse("host_detail", args=[host.pk]), reverse("installation_detail", args=[1])]
    for page in pages:
        answer = viewer.get(page)
        assert answer.status_code == 200, page
        assert not secrets_in(answer.content), page
    assert viewer.get(reverse("pair_certificate", args=[pair.pk])).content == CERTIFICATES
    assert "perhaps a private key" in viewer.get(pages[0]).content.decode()

    rolled_back = run_json("rollback_host", "comb")
    assert rolled_back.statuses == ["INSTALLED"], rolled_back
    certificate = mailroot / "server.cert"
    assert certificate.read_bytes() == COMBINED
    assert (mailroot / "server.key").read_bytes() == OLD.key
    if "ctrl" not in add:  # which cannot set modes, and keeps that of the file that is there
        assert certificate.stat().st_mode & 0o777 == 0o600
    assert not secrets_in(rows())
    assert xmail.seen.clear_keys == 0
    host.refresh_from_db()
    assert host.pair == pair, "it is recognised"
    assert run_json("deploy_pair", str(pair.pk), "comb").statuses == ["UNCHANGED"]


def test_what_others_can_read_is_an_error(mailroot: Path, xmail: XMail) -> None:
    (mailroot / "server.cert").chmod(0o644)
    run("add_host", "comb", "--transport", "local", "--mailroot", str(mailroot), *ports(xmail))
    found = {row["code"]: row for row in run_json("diagnose_hosts").json["findings"]}
    assert found["key_in_certificate"]["level"] == "error"
    assert "make a new pair" in found["key_in_certificate"]["remedy"]


def test_a_download_of_both_files_has_certificates_in_the_public_one(client: Client) -> None:
    pair = Pair.objects.adopt(OLD.key, COMBINED, found_on="comb")
    again = Pair.objects.adopt(OLD.key, COMBINED, found_on="other")
    assert again == pair
    assert Pair.objects.adopt(OLD.key, CERTIFICATES, found_on="other") != pair
    assert (pair.private_key(), pair.certificate_file()) == (OLD.key, COMBINED)
    people.sign_in(client, people.person("key_holder"), confirmed=True)
    archive = client.post(reverse("pair_zip", args=[pair.pk]))
    assert archive.status_code == 200


@pytest.mark.parametrize("rubbish", [OLD.key, b"rubbish \xff", b"\x30\x82\x04"])
def test_a_file_without_a_certificate_is_kept_and_not_shown(client: Client, rubbish: bytes) -> None:
    pair = Pair.objects.adopt(OLD.key, rubbish, found_on="comb")
    assert (pair.state, pair.certificate_pem) == ("bad_certificate", b"")
    assert pair.certificate_file() == rubbish
    assert not secrets_in(rows())
    people.sign_in(client, people.person("viewer"))
    assert client.get(reverse("pair_certificate", args=[pair.pk])).status_code == 404
    page = client.get(reverse("pair_detail", args=[pair.pk]))
    assert page.status_code == 200
    assert not secrets_in(page.content)


def test_what_is_certificates_alone_is_not_kept_twice() -> None:
    for found in (OLD.certificate, CERTIFICATES.replace(b"\n", b"\r\n")):
        pair = Pair.objects.adopt(OLD.key, found, found_on="comb")
        assert (pair.certificate_sealed, pair.certificate_file()) == ("", found)
