"""What hosts say is data: it neither steers a terminal nor keeps anything from being stored."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from django.db import DataError

from hosts import diagnosis
from hosts.diagnosis import Facts, Finding
from hosts.messages import Message
from hosts.models import Diagnosis
from hosts.transports import TransportError, open_transport
from tests.doubles.mailroot import make_mailroot
from tests.doubles.pairs import make_pair
from tests.doubles.xmail import XMail
from tests.factories import local_host
from tests.hosts.commands import PAIR, ports, run
from tests.hosts.conftest import small_ssh
from tests.hosts.test_sftp import small_target
from tests.portal import Portal

NASTY = "\x1b]0;PWNED\x07\x1b[31mred\x9b2J\u202eRTL\nFAKELINE \0 日本\u3000語"
HARMLESS = "?]0;PWNED??[31mred?2J?RTL?FAKELINE ? 日本\u3000語"


def test_a_message_holds_only_what_can_be_printed() -> None:
    told = Message("sftp.failure", {"path": "a\tb", "reason": NASTY, "port": 22})
    assert told.params == {"path": "a?b", "reason": HARMLESS, "port": 22}
    assert Message.from_json({"code": "x", "params": {"reason": NASTY}}).params["reason"] == (
        HARMLESS
    )


@contextmanager
def disconnecting(reason: str) -> Iterator[int]:
    """The port of an SSH server that says goodbye before anything else."""
    text = reason.encode()
    body = b"\x01" + (11).to_bytes(4) + len(text).to_bytes(4) + text + bytes(4)
    padding = 8 - (len(body) + 5) % 8 + 8
    packet = (len(body) + padding + 1).to_bytes(4) + bytes([padding]) + body + bytes(padding)

    async def goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            writer.write(b"SSH-2.0-nobody\r\n")
            await reader.readline()
            writer.write(packet)
            await writer.drain()
            await reader.read()
        writer.close()

    started, loop = threading.Event(), asyncio.new_event_loop()
    found: list[int] = []

    async def serve() -> None:
        server = await asyncio.start_server(goodbye, "127.0.0.1", 0)
        found.append(server.sockets[0].getsockname()[1])
        started.set()
        with suppress(asyncio.CancelledError):
            await server.serve_forever()

    task = loop.create_task(serve())
    thread = threading.Thread(target=lambda: loop.run_until_complete(task))
    thread.start()
    started.wait(5)
    yield found[0]
    loop.call_soon_threadsafe(task.cancel)
    thread.join(5)
    loop.close()


@pytest.mark.django_db
def test_what_an_ssh_server_says_does_not_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    with disconnecting(NASTY) as port:
        done = run(
            "add_host", "s1", "--transport", "sftp", "--port", str(port), "--user", "x",
            "--password-file", str(tmp_path / "password"), "--mailroot", "/var/MailRoot",
            *ports(None),
        )  # fmt: skip
    assert done.status == 1
    assert HARMLESS in done.error


class RudeServer(asyncssh.SFTPServer):
    """An SFTP server that explains in its own way why it does not do it."""

    def stat(self, *_: Any) -> Any:
        raise asyncssh.SFTPFailure(NASTY)

    lstat = open = stat  # type: ignore[assignment]


async def test_what_an_sftp_server_says_does_not_steer_the_terminal(tmp_path: Path) -> None:
    mailroot = make_mailroot(tmp_path / "MailRoot")
    async with small_ssh(sftp=RudeServer) as server:
        with pytest.raises(TransportError) as caught:
            async with open_transport(small_target(server, mailroot)) as transport:
                await transport.read("server.tab")
    assert HARMLESS in str(caught.value.message.params.get("reason"))


def strange_certificate(tmp_path: Path) -> Path:
    """A MailRoot whose certificate and server.tab hold what no text may."""
    strange = make_pair("strange.test", aliases=["a\0b.test", "c\x1bd.test"])
    mailroot = make_mailroot(tmp_path / "strange", key=strange.key, certificate=strange.certificate)
    with (mailroot / "server.tab").open("ab") as file:
        file.write(b'"SmtpNoTLSAuths"\t"PLAIN\0\x1b"\r\n')
    return mailroot


@pytest.mark.django_db
def test_what_is_kept_of_a_look_can_be_printed(tmp_path: Path) -> None:
    with XMail(strange_certificate(tmp_path)) as xmail:
        host = local_host(tmp_path, smtps_port=xmail.ports["smtps"])
        host.mailroot = str(xmail.mailroot)
        host.save()
        Diagnosis.objects.take([host])
    kept = Diagnosis.objects.get().facts
    assert kept["endpoints"][0]["names"] == ["a?b.test", "c?d.test"]
    assert kept["server_tab"]["SmtpNoTLSAuths"] == "PLAIN??"


@pytest.mark.django_db
def test_what_cannot_be_kept_of_one_host_takes_nothing_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [local_host(tmp_path, name) for name in ("one", "two", "three")]
    mailroot, judge = hosts[1].mailroot, diagnosis.findings

    def findings(facts: Facts, now: datetime) -> list[Finding]:
        if facts.mailroot == mailroot:
            raise DataError("such a text cannot be stored")
        return judge(facts, now)

    monkeypatch.setattr("hosts.models.diagnosis.findings", findings)
    with pytest.raises(DataError):
        Diagnosis.objects.take(hosts)
    assert set(Diagnosis.objects.values_list("host__name", flat=True)) == {"one", "three"}


@pytest.mark.slow
def test_one_strange_host_takes_nothing_from_the_others(
    tmp_path: Path, postgres_database: str
) -> None:
    """PostgreSQL takes no NUL, wherever a host has it."""
    portal = Portal(tmp_path / "portal", {"DATABASE_URL": postgres_database})
    portal.manage("prepare")
    with XMail(strange_certificate(tmp_path)) as xmail:
        for name in ("good", "strange"):
            mailroot = xmail.mailroot if name == "strange" else make_mailroot(tmp_path / name)
            found = ports(None)
            if name == "strange":
                found[found.index("--smtps-port") + 1] = str(xmail.ports["smtps"])
            words = ["--transport", "local", "--mailroot", str(mailroot), *found]
            portal.manage("add_host", name, *words)
        findings = portal.manage_json("diagnose_hosts")["findings"]
        assert {row["host"] for row in findings} == {"good", "strange"}
        pair = portal.manage_json("issue_pair", *PAIR, "--common-name", "mail.dojo.jp")["pair"]
        with XMail(
            strange_certificate(tmp_path / "impostor")
        ) as impostor:  # shows the strange certificate whatever is installed
            moved = f"filter(name='strange').update(smtps_port={impostor.ports['smtps']})"
            change = f"from hosts.models import Host; Host.objects.{moved}"
            portal.manage("shell", "--verbosity=0", "-c", change)
            done = portal.manage("deploy_pair", str(pair["id"]), "--all", "--json", check=False)
        rows = json.loads(done.stdout)["installations"]
        assert {row["host"]: row["status"] for row in rows} == {
            "good": "INSTALLED",
            "strange": "ROLLED_BACK",
        }
