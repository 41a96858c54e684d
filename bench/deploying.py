"""Our whole path from a request to the history, and the hosts that it is measured on."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.portal import HOME
from bench.xmails import Served, xmails
from tests.doubles.mailroot import make_mailroot
from tests.servers import SSHServer, ssh_server

ENDPOINTS = ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrls")
PROBED = ("smtp", "smtps", "pop3", "pop3s", "ctrls")
OFF = {f"{name}_port": 0 for name in ENDPOINTS}
WORKER_THREADS = 4  # as many as a worker has


@contextmanager
def sftp_hosts(count: int) -> Iterator[tuple[SSHServer, list[Path], list[Any]]]:
    """Yields a running sshd with `count` MailRoots behind it, and their registered rows."""
    from hosts.models import Host

    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        directory = Path(folder)
        roots = [make_mailroot(directory / f"m{number}") for number in range(count)]
        for root in roots:
            (root / "sslconf").mkdir()
        with ssh_server(directory) as server:
            rows = [
                Host(
                    name=f"{directory.name}-{number}", transport="sftp", port=server.port,
                    user=server.user, mailroot=str(root),
                    trust_fingerprint=server.host_key.get_fingerprint("sha256"), **OFF,
                )
                for number, root in enumerate(roots)
            ]  # fmt: skip
            secret = server.client_key.export_private_key("openssh").decode()
            yield server, roots, _saved(rows, private_key=secret)


@contextmanager
def ctrl_hosts(count: int) -> Iterator[tuple[list[Served], list[Any]]]:
    """Yields `count` stand-ins for XMail that hold a pair, and their registered rows."""
    from hosts.models import Host
    from hosts.transports import leaf_sha256
    from tests.doubles.pairs import make_pair

    held = make_pair()
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        directory = Path(folder)
        roots = [
            make_mailroot(directory / f"x{number}", key=held.key, certificate=held.certificate)
            for number in range(count)
        ]
        with xmails(roots, ("ctrl", *PROBED)) as served:
            rows = [
                Host(
                    name=f"{directory.name}-{number}", transport="ctrl", port=xmail.ports["ctrl"],
                    user=xmail.user, mailroot="/var/MailRoot",
                    trust_fingerprint=leaf_sha256(held.certificate), **OFF,
                )
                for number, xmail in enumerate(served)
            ]  # fmt: skip
            yield served, _saved(rows, password=served[0].password)


def probe(hosts: Sequence[Any], served: Sequence[Served], names: Sequence[str]) -> None:
    """Has the named services of the hosts probed from now on, and no others."""
    from hosts.models import Host

    for host, xmail in zip(hosts, served, strict=True):
        ports = OFF | {f"{name}_port": xmail.ports[name] for name in names}
        Host.objects.filter(pk=host.pk).update(**ports)


def _saved(rows: list[Any], **secrets: str) -> list[Any]:
    from django.db import transaction

    with transaction.atomic():
        for row in rows:
            row.save()
            row.keep_secrets(**secrets)
    return rows


def new_pairs() -> Iterator[Any]:
    """Yields two pairs in turn, so that every run has something to switch."""
    from tests.factories import issued_pair

    return itertools.cycle([issued_pair(key_size="rsa-2048") for _ in range(2)])


def deploy(pair: Any, hosts: list[Any]) -> None:
    """Our whole path, as a worker does it: rows, claims, fan-out, history."""
    from django.db import connection

    from hosts import ledger
    from hosts.deploy import create_deployment
    from hosts.turns import CHUNK

    deployment = create_deployment(pair, hosts, by=None)
    ids = list(deployment.installations.order_by("pk").values_list("pk", flat=True))

    def chunk(start: int) -> None:
        ledger.run(ids[start : start + CHUNK])
        connection.close()

    with ThreadPoolExecutor(WORKER_THREADS) as pool:
        list(pool.map(chunk, range(0, len(ids), CHUNK)))
    counts = deployment.counts()
    assert counts == {"INSTALLED": len(hosts)}, counts
