"""Every command on a host that is reached by CTRL, from its registration to its last roll back."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.models import Host
from tests.doubles.mailroot import write_pair, write_settings
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.hosts.commands import Done, kept, made_pair, ports, run, run_json
from tests.hosts.ctrl.cases import OLD

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _brisk(brisk_ctrl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")


@pytest.fixture
def add(xmail: XMail, mailroot: Path, tmp_path: Path) -> list[str]:
    """The command that registers the double, but for the fingerprint."""
    password = kept(tmp_path / "password", xmail.password + "\n")
    return [
        "add_host", "mail1", "--transport", "ctrl", "--port", str(xmail.ports["ctrl"]),
        "--user", xmail.user, "--password-file", password, "--mailroot", str(mailroot),
        *ports(xmail),
    ]  # fmt: skip


def installed(done: Done) -> None:
    assert (done.status, done.statuses) == (0, ["INSTALLED"]), done
    (row,) = done.json["installations"]
    assert [each["ok"] for each in row["endpoints"]] == [True] * 6


def test_an_identity_is_shown_and_nothing_is_sent_until_it_is_confirmed(
    xmail: XMail, add: list[str]
) -> None:
    refused = run(*add)
    assert refused.status == 1
    assert f"--trust-fingerprint {OLD.sha256}" in refused.error
    assert "manage.py add_host mail1" in refused.error
    assert run_json(*add).json["identity"] == {"sha256": OLD.sha256, "shown": OLD.sha256}
    assert (xmail.seen.logins, xmail.seen.failed_logins) == (0, 0)
    assert not Host.objects.exists()
    added = run(*add, "--trust-fingerprint", OLD.sha256.upper(), "--submission-port", "9")
    assert added.status == 0, added
    assert "Logged in as admin" in added.out
    assert "A matching pair for old.test is installed there" in added.out
    assert f"SMTPS {xmail.ports['smtps']}: {OLD.sha256}" in added.out
    assert added.out.lower().count("submission 9") == 1
    assert Host.objects.get().trust_fingerprint == OLD.sha256
    assert xmail.seen.clear_passwords == 0


def test_a_password_that_cannot_be_read_is_told_in_the_systems_words(
    add: list[str], tmp_path: Path
) -> None:
    at = add.index("--password-file") + 1
    add[at] = str(tmp_path / "none")
    assert run(*add).error == f"{add[at]} cannot be read: No such file or directory."
    (tmp_path / "cp932").write_bytes("パスワード".encode("cp932"))
    add[at] = str(tmp_path / "cp932")
    assert run(*add).error == f"{add[at]} cannot be read: it is not UTF-8 text."


def test_another_certificate_is_refused_before_any_secret_is_sent(
    xmail: XMail, add: list[str]
) -> None:
    refused = run(*add, "--trust-fingerprint", "ab" * 32)
    assert refused.status == 1
    assert OLD.sha256 in refused.error
    assert refused.error.count("--trust-fingerprint") == 1
    assert (xmail.seen.logins, xmail.seen.failed_logins) == (0, 0)


def test_a_wrong_password_is_said_and_nothing_is_registered(
    xmail: XMail, add: list[str], tmp_path: Path
) -> None:
    add[add.index("--password-file") + 1] = kept(tmp_path / "wrong", "wrong")
    refused = run(*add, "--trust-fingerprint", OLD.sha256)
    assert "refuses the CTRL login of admin" in refused.error
    assert not Host.objects.exists()


def test_the_trusted_certificate_moves_on_with_each_verified_deployment_and_roll_back(
    xmail: XMail, add: list[str], mailroot: Path
) -> None:
    assert run(*add, "--trust-fingerprint", OLD.sha256).status == 0
    first = made_pair("mail.dojo.jp", "--install", "mail1")
    installed(first)
    host = Host.objects.get()
    assert host.trust_fingerprint == first.json["pair"]["sha256"]
    second = made_pair("mail2.dojo.jp").json["pair"]
    installed(run_json("deploy_pair", str(second["id"]), "mail1"))
    host.refresh_from_db()
    assert host.trust_fingerprint == second["sha256"]
    assert run_json("deploy_pair", str(second["id"]), "mail1").statuses == ["UNCHANGED"]
    installed(run_json("rollback_host", "mail1"))
    host.refresh_from_db()
    assert host.trust_fingerprint == first.json["pair"]["sha256"]
    installed(run_json("rollback_host", "mail1"))
    host.refresh_from_db()
    assert host.trust_fingerprint == OLD.sha256
    assert (mailroot / "server.key").read_bytes() == OLD.key
    diagnosed = run_json("diagnose_hosts", "mail1")
    assert diagnosed.status == 0
    assert {row["code"] for row in diagnosed.json["findings"][:2]} == {"pair_ok", "key_ok"}
    assert not host.key_open


def test_a_first_installation_goes_in_clear_to_this_machine_and_is_known_by_its_pair_then(
    xmail: XMail, add: list[str], mailroot: Path
) -> None:
    write_pair(mailroot, None, None)
    added = run(*add)
    assert added.status == 0, added
    assert "XMail has no usable pair yet" in added.out
    assert Host.objects.get().trust_fingerprint == ""
    done = made_pair("mail.dojo.jp", "--install", "mail1")
    installed(done)
    (row,) = done.json["installations"]
    mend = f"chmod 600 {mailroot}/server.key"
    assert any(mend in note for note in row["notes"])
    host = Host.objects.get()
    assert host.trust_fingerprint == done.json["pair"]["sha256"]
    findings = {row["code"]: row for row in run_json("diagnose_hosts").json["findings"]}
    assert findings["key_left_open"]["level"] == "warning"
    assert mend in findings["key_left_open"]["remedy"]
    assert "nothing to go back to" in run("rollback_host", "mail1").error
    assert run_json("rollback_host", "mail1", "--remove").statuses == ["REMOVED"]
    assert not (mailroot / "server.key").exists()
    host.refresh_from_db()
    assert (host.pair, host.key_open) == (None, False)


@pytest.mark.usefixtures("remote")
def test_no_first_installation_in_clear_to_another_machine_unless_allowed(
    xmail: XMail, add: list[str], mailroot: Path
) -> None:
    write_pair(mailroot, None, None)
    refused = run(*add)
    assert "allow the key over an unencrypted connection" in refused.error
    assert (xmail.seen.logins, xmail.seen.failed_logins) == (0, 0)
    assert run(*add, "--allow-plain-key").status == 0
    installed(made_pair("mail.dojo.jp", "--install", "mail1"))
    assert Host.objects.get().trust_fingerprint


@pytest.mark.usefixtures("remote")
def test_switched_off_tls_is_said_and_nothing_is_sent(
    xmail: XMail, add: list[str], mailroot: Path
) -> None:
    write_settings(mailroot, {"EnableCTRL-TLS": "0"})
    refused = run(*add, "--trust-fingerprint", OLD.sha256)
    assert "Set EnableCTRL-TLS to 1 in server.tab" in refused.error
    assert (xmail.seen.logins, xmail.seen.failed_logins) == (0, 0)


@pytest.mark.usefixtures("remote")
def test_a_pair_changed_by_hand_refuses_everything_and_says_how_to_go_on(
    xmail: XMail, add: list[str], mailroot: Path
) -> None:
    assert run(*add, "--trust-fingerprint", OLD.sha256).status == 0
    pair = made_pair("mail.dojo.jp").json["pair"]
    logins = xmail.seen.logins
    other = make_pair("other.test")
    write_pair(mailroot, other.key, other.certificate)
    failed = run("deploy_pair", str(pair["id"]), "mail1")
    assert failed.status == 1
    assert "confirm the new certificate there" in failed.out
    codes = {row["code"] for row in run_json("diagnose_hosts").json["findings"]}
    assert "not_reached" in codes
    assert xmail.seen.logins == logins
    assert (mailroot / "server.key").read_bytes() == other.key
    looked = run("reenrol_host", "mail1")
    assert looked.status == 1
    assert f"reenrol_host mail1 --trust-fingerprint {other.sha256}" in looked.error
    assert run("reenrol_host", "mail1", "--trust-fingerprint", "ab" * 32).status == 1
    assert xmail.seen.logins == logins
    assert run_json("reenrol_host", "mail1", "--trust-fingerprint", other.sha256).status == 0
    assert run("reenrol_host", "mail1").status == 0
    installed(run_json("deploy_pair", str(pair["id"]), "mail1"))
