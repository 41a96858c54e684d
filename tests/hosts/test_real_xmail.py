"""With a real XMail (`XMAIL_BINARY=…`): it does what its stand-in does, and the portal manages it.

Only collected where there is one (tests/hosts/conftest.py).
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest

from hosts.models import Host
from tests.doubles.mailroot import make_mailroot, write_settings
from tests.doubles.pairs import make_pair
from tests.doubles.real_xmail import RealXMail
from tests.doubles.wire import ClosingSSLSocket
from tests.doubles.xmail import XMail
from tests.hosts.commands import kept, made_pair, ports, run, run_json
from tests.servers import SSHServer

OLD = make_pair("old.test", kind="rsa2048")
SILENT_FOR_S = 1.0  # how long a server may take to say all that it has to say
LOGIN = "LOGIN"  # the log-in that answers the greeting's time stamp
_CHANGING = (
    (re.compile(r"<[0-9.]+@"), "<STAMP@"),
    (re.compile(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d{4} [0-9:]{8} [-+]\d{4}"), "DATE"),
)
DIALOGUES = {
    "smtp": ("smtp", "EHLO x", "NOOP", "RSET", "BOGUS", "STARTTLS", "TLS", "EHLO x", "QUIT"),
    "smtp off": ("smtp", "EHLO x", "STARTTLS", "QUIT"),
    "smtps": ("smtps", "TLS", "EHLO x", "STARTTLS", "QUIT"),
    "pop3": ("pop3", "CAPA", "BOGUS", "STLS", "TLS", "CAPA", "STLS", "QUIT"),
    "pop3 off": ("pop3", "CAPA", "STLS", "QUIT"),
    "pop3s": ("pop3s", "TLS", "CAPA", "QUIT"),
    "ctrl off": ("ctrl", "#!TLS"),
    "log-in refused": ("ctrl", '"admin"\t"wrong"'),
    "files": (
        "ctrl", "#!TLS", "TLS", LOGIN, '"noop"', '"bogus"', "noop", '"noop"\t"x"',
        '"cfgfileget"\t"server.cert"', '"cfgfileget"\t"none"', '"cfgfileget"\t"../x"',
        '"cfgfileget"', '"cfgfileget"\t"server.tab"',
        '"cfgfileset"\t"a.new"\r\none\r\n..two\r\n\r\nthree\r\n.', '"cfgfileget"\t"a.new"',
        '"filelist"\t"."\t"a.*"', '"cfgfileset"\t"a.new"\r\n.', '"filelist"\t"."\t"a.*"',
        '"cfgfileset"\t"nowhere/a"\r\nx\r\n.', '"filelist"\t"nowhere"\t"*"',
        '"cfgfileset"\t"b"\r\nx\r\n.\r\n"cfgfileget"\t"b"\r\n"cfgfileset"\t"b"\r\n.', '"quit"',
    ),
    "ctrls": ("ctrls", "TLS", LOGIN, '"noop"', '"quit"'),
    "twice": ("ctrls", "TLS", "#!TLS"),
}  # fmt: skip


@pytest.fixture
def mailroot(tmp_path: Path) -> Path:
    return make_mailroot(tmp_path / "MailRoot", key=OLD.key, certificate=OLD.certificate)


def said(xmail: XMail | RealXMail, service: str, *lines: str) -> list[str]:
    """All that the server says to these lines, one after the other, without what changes."""
    context = ssl.create_default_context()
    context.sslsocket_class = ClosingSSLSocket
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = socket.create_connection((xmail.address, xmail.ports[service]))
    sock.settimeout(SILENT_FOR_S)
    answers = [_heard(sock)] if service in {"smtp", "pop3", "ctrl"} else []
    greeting = "".join(answers)
    for line in lines:
        if line == "TLS":
            sock = context.wrap_socket(sock)
            sock.settimeout(SILENT_FOR_S)
            answers.append(_heard(sock) if service.endswith("s") else "")
            greeting += answers[-1]
            continue
        if line == LOGIN:
            stamp = re.search("<.*?>", greeting)
            assert stamp is not None
            digest = hashlib.md5((stamp[0] + xmail.password).encode()).hexdigest()  # noqa: S324
            line = f'"{xmail.user}"\t"#{digest}"'
        sock.sendall(f"{line}\r\n".encode())
        answers.append(_heard(sock))
    sock.close()
    text = "\n".join(answers)
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text.splitlines()


def _heard(sock: socket.socket) -> str:
    """What comes until nothing does for a while."""
    data = b""
    sock.settimeout(SILENT_FOR_S)
    while True:
        try:
            more = sock.recv(65536)
        except (TimeoutError, ConnectionError):
            break
        if not more:
            data += b"(closed)"
            break
        data += more
        sock.settimeout(SILENT_FOR_S / 6)
    return data.decode("latin-1")


@pytest.mark.parametrize("name", DIALOGUES)
def test_the_stand_in_says_what_xmail_says(name: str, mailroot: Path, tmp_path: Path) -> None:
    service, *lines = DIALOGUES[name]
    if name.endswith("off"):
        write_settings(mailroot, {f"Enable{service.upper()}-TLS": "0"})
    with RealXMail(mailroot) as real:
        expected = said(real, service, *lines)
    with XMail(mailroot) as double:
        assert said(double, service, *lines) == expected


@pytest.mark.django_db
def test_one_pair_for_three_of_them_by_every_way(
    ssh_server: SSHServer, tmp_path: Path, brisk_ctrl: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", "A" * 43 + "=")
    secrets = {
        "key": kept(tmp_path / "client_key", ssh_server.client_key.export_private_key()),
        "password": "",
    }
    with ExitStack() as stack:
        for name in ("local", "sftp", "ctrl"):
            root = make_mailroot(tmp_path / name, key=OLD.key, certificate=OLD.certificate)
            xmail = stack.enter_context(RealXMail(root))
            secrets["password"] = kept(tmp_path / "password", xmail.password)
            reached = {
                "local": [],
                "sftp": [
                    "--port", str(ssh_server.port), "--user", ssh_server.user,
                    "--key-file", secrets["key"],
                    "--trust-fingerprint", ssh_server.host_key.get_fingerprint("sha256"),
                ],
                "ctrl": [
                    "--port", str(xmail.ports["ctrl"]), "--user", xmail.user,
                    "--password-file", secrets["password"], "--trust-fingerprint", OLD.sha256,
                ],
            }[name]  # fmt: skip
            added = run(
                "add_host", name, "--transport", name, "--mailroot", str(root), *reached,
                *ports(xmail),
            )  # fmt: skip
            assert added.status == 0, added
        made = made_pair(
            "mail.dojo.jp", "--install", "local", "--install", "sftp", "--install", "ctrl"
        )
        assert made.statuses == ["INSTALLED"] * 3, made
        for row in made.json["installations"]:
            assert [each["sha256"] for each in row["endpoints"]] == [
                made.json["pair"]["sha256"]
            ] * 6
        looked = run_json("diagnose_hosts")
        assert looked.status == 0, looked
        assert {row["level"] for row in looked.json["findings"]} <= {"ok", "info"}, looked
        back = [run_json("rollback_host", host.name) for host in Host.objects.all()]
        assert [done.statuses for done in back] == [["INSTALLED"]] * 3
    for name in ("local", "sftp", "ctrl"):
        assert (tmp_path / name / "server.key").read_bytes() == OLD.key
