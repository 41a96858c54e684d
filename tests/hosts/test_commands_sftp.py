"""Every command on a host that is reached by SFTP, with a real OpenSSH server."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts import proof
from hosts.models import Host
from hosts.transports import normal_fingerprint
from tests.doubles.mailroot import make_mailroot
from tests.doubles.xmail import XMail
from tests.hosts.commands import kept, made_pair, ports, run, run_json
from tests.servers import SSHServer

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")
    monkeypatch.setattr(proof, "RETRY_AFTER_S", (0.01, 0.02))


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    return make_mailroot(tmp_path / "MailRoot")


def add(
    server: SSHServer,
    mailroot: Path,
    xmail: XMail | None = None,
    changes: dict[str, str] | None = None,
) -> list[str]:
    """The command that registers the server, but for the fingerprint."""
    key = server.client_key.export_private_key()
    values = {
        "--port": str(server.port),
        "--user": server.user,
        "--key-file": kept(mailroot.parent / "client_key", key),
        "--mailroot": str(mailroot),
    } | (changes or {})
    words = [word for option in values.items() for word in option]
    return ["add_host", "mail1", "--transport", "sftp", *words, *ports(xmail)]


def test_the_whole_job(ssh_server: SSHServer, mailroot: Path) -> None:
    trusted = ssh_server.host_key.get_fingerprint("sha256")
    with XMail(mailroot) as xmail:
        words = add(ssh_server, mailroot, xmail)
        refused = run_json(*words)
        assert refused.status == 1
        assert refused.json["identity"] == {
            "sha256": normal_fingerprint(trusted),
            "shown": trusted,
        }
        assert refused.json["code"] == "registration.confirm_sftp"
        assert (
            trusted in refused.json["error"] or normal_fingerprint(trusted) in refused.json["error"]
        )
        assert "ssh-keygen -lf" in refused.error
        assert refused.error.count(trusted) == 1
        assert not Host.objects.exists()
        added = run(*words, "--trust-fingerprint", trusted)
        assert added.status == 0, added
        assert "It is the server that was confirmed: SHA256:" in added.out
        assert "No pair is installed there yet." in added.out
        assert f"\nSMTP {xmail.ports['smtp']} says that it is ready for TLS" in added.out
        first = made_pair("mail.dojo.jp", "--install", "mail1")
        assert (first.status, first.statuses) == (0, ["INSTALLED"]), first
        (row,) = first.json["installations"]
        assert [each["sha256"] for each in row["endpoints"]] == [first.json["pair"]["sha256"]] * 6
        assert (mailroot / "server.key").stat().st_mode & 0o777 == 0o600
        second = made_pair("mail2.dojo.jp").json["pair"]
        placed = run_json("deploy_pair", str(second["id"]), "mail1", "--place-only")
        assert placed.statuses == ["PLACED"]
        again = run_json("deploy_pair", str(second["id"]), "mail1", "--place-only")
        assert again.statuses == ["UNCHANGED"]
        held = Host.objects.get().pair
        assert held is not None
        assert held.pk == first.json["pair"]["id"]
        assert run_json("deploy_pair", str(second["id"]), "mail1").statuses == ["INSTALLED"]
        assert run_json("rollback_host", "mail1").statuses == ["INSTALLED"]
        findings = run_json("diagnose_hosts").json["findings"]
        assert {row["code"] for row in findings[:2]} == {"pair_ok", "key_ok"}
        assert run_json("rollback_host", "mail1", "--remove").statuses == ["REMOVED"]
    host = Host.objects.get()
    assert host.trust_fingerprint == normal_fingerprint(trusted)
    assert not (mailroot / "server.key").exists()


def test_another_host_key_is_refused(ssh_server: SSHServer, mailroot: Path) -> None:
    refused = run(*add(ssh_server, mailroot), "--trust-fingerprint", "ab" * 32)
    assert refused.status == 1
    assert ssh_server.host_key.get_fingerprint("sha256") in refused.error
    met = normal_fingerprint(ssh_server.host_key.get_fingerprint("sha256"))
    assert f"--trust-fingerprint {met}" in refused.error
    assert not Host.objects.exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"--address": "169.254.169.254"}, "cannot be the address of a mail server"),
        ({"--mailroot": "/nowhere"}, "There is no directory /nowhere"),
        ({"--mailroot": "MailRoot"}, "MailRoot"),
        ({"--user": "nobody-of-this-name"}, "refuses the login of nobody-of-this-name"),
        ({"--port": "1"}, "Nothing answers at 127.0.0.1 port 1"),
        ({"--key-file": __file__}, "cannot be opened"),
        ({"--jump": "no jump host"}, "is no jump host"),
    ],
)
def test_a_refusal_says_why(
    ssh_server: SSHServer, mailroot: Path, changes: dict[str, str], reason: str
) -> None:
    trusted = ssh_server.host_key.get_fingerprint("sha256")
    refused = run(*add(ssh_server, mailroot, changes=changes), "--trust-fingerprint", trusted)
    assert refused.status == 1
    assert reason in refused.error
    assert not Host.objects.exists()


def test_a_changed_host_key_refuses_everything_and_says_how_to_go_on(
    ssh_server: SSHServer, mailroot: Path
) -> None:
    trusted = ssh_server.host_key.get_fingerprint("sha256")
    assert run(*add(ssh_server, mailroot), "--trust-fingerprint", trusted).status == 0
    Host.objects.update(trust_fingerprint="cd" * 32)
    pair = made_pair("mail.dojo.jp").json["pair"]
    failed = run("deploy_pair", str(pair["id"]), "mail1")
    assert failed.status == 1
    assert "confirm the new key there" in failed.out
    assert not (mailroot / "server.key").exists()
    codes = {row["code"] for row in run_json("diagnose_hosts").json["findings"]}
    assert "not_reached" in codes
