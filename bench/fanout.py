"""One pair to N hosts: our whole path against bare pushes of the same files in the same run."""

from __future__ import annotations

import itertools
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import pushes
from bench.measure import Sample, alternate, cpu_s, table
from bench.portal import HOME
from tests.doubles.mailroot import make_mailroot
from tests.doubles.xmail import XMail
from tests.servers import SSHServer, ssh_server

ENDPOINTS = ("smtp", "submission", "smtps", "pop3", "pop3s", "ctrls")
WORKER_THREADS = 4  # as many as the embedded worker has


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
                    trust_fingerprint=server.host_key.get_fingerprint("sha256"),
                    **{f"{name}_port": 0 for name in ENDPOINTS},
                )
                for number, root in enumerate(roots)
            ]  # fmt: skip
            secret = server.client_key.export_private_key("openssh").decode()
            yield server, roots, _saved(rows, private_key=secret)


@contextmanager
def ctrl_hosts(count: int, *, services: Sequence[str]) -> Iterator[tuple[list[XMail], list[Any]]]:
    """Yields `count` stand-ins for XMail that hold a pair, and their registered rows."""
    from hosts.models import Host
    from hosts.transports import leaf_sha256
    from tests.doubles.pairs import make_pair

    held = make_pair()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=HOME)))
        xmails = [
            stack.enter_context(
                XMail(
                    make_mailroot(
                        directory / f"x{number}", key=held.key, certificate=held.certificate
                    ),
                    services=("ctrl", *services),
                )
            )
            for number in range(count)
        ]
        rows = [
            Host(
                name=f"{directory.name}-{number}", transport="ctrl", port=xmail.ports["ctrl"],
                user=xmail.user, mailroot="/var/MailRoot",
                trust_fingerprint=leaf_sha256(held.certificate),
                **{
                    f"{name}_port": xmail.ports[name] if name in services and probed else 0
                    for name in ENDPOINTS
                },
            )
            for probed in (len(services) > 1,)
            for number, xmail in enumerate(xmails)
        ]  # fmt: skip
        yield xmails, _saved(rows, password=xmails[0].password)


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
    """Our whole path, as the embedded worker does it: rows, claims, fan-out, history."""
    from django.db import connection

    from hosts import ledger
    from hosts.deploy import CHUNK, create_deployment

    deployment = create_deployment(pair, hosts, by=None)
    ids = list(deployment.installations.order_by("pk").values_list("pk", flat=True))

    def chunk(start: int) -> None:
        ledger.run(ids[start : start + CHUNK])
        connection.close()

    with ThreadPoolExecutor(WORKER_THREADS) as pool:
        list(pool.map(chunk, range(0, len(ids), CHUNK)))
    counts = deployment.counts()
    assert counts == {"INSTALLED": len(hosts)}, counts


def against_sftp(counts: Sequence[int], times: int) -> str:
    """Returns the table of SFTP: ours, OpenSSH's client, asyncssh, paramiko and Ansible."""
    rows = []
    for count in counts:
        with sftp_hosts(count) as (server, roots, hosts):
            # Ours always switches to one pair, and the others then back to the other one.
            pairs = new_pairs()
            pair, other = next(pairs), next(pairs)
            files = pushes.Files(pair.private_key(), pair.certificate_pem)
            pushes.bare_asyncssh(server, roots, files, 100)
            pushed = (server, roots, files)
            contestants: dict[str, Callable[[], object]] = {
                "ours": partial(deploy, other, hosts),
                "asyncssh, 100 at once": partial(pushes.bare_asyncssh, *pushed, 100),
                "OpenSSH sftp, 8 at once": partial(pushes.openssh_sftp, *pushed, 8),
            }
            if find_spec("paramiko"):
                contestants["paramiko, 32 threads"] = partial(pushes.paramiko_threads, *pushed, 32)
            samples = alternate(contestants, times)
            if shutil.which("ansible-playbook") and count <= 100:
                name = "Ansible, 50 forks, pipelining"
                samples |= alternate({name: partial(pushes.ansible, *pushed, 50)}, 1)
            rows += _rows(count, samples)
    return table(["N", "what", "median s", "CPU s of the client", "ours is"], rows)


def against_ctrl(counts: Sequence[int], times: int) -> str:
    """Returns the table of CTRL: ours without and with probes, bare sockets in 32 threads."""
    rows = []
    for count in counts:
        for services, name in ((("ctrls",), "ours"), (ENDPOINTS, "ours, with six probes a host")):
            with ctrl_hosts(count, services=services) as (xmails, hosts):
                pairs = new_pairs()

                def ours(hosts: list[Any] = hosts, pairs: Iterator[Any] = pairs) -> None:
                    deploy(next(pairs), hosts)
                    for host in hosts:
                        host.refresh_from_db()

                samples = {name: Sample()}
                bare = f"bare sockets, 32 threads (beside «{name}»)"
                samples[bare] = Sample()
                for _ in range(times):
                    done = alternate({name: ours}, 1)
                    samples[name].wall_s += done[name].wall_s
                    samples[name].cpu_s += done[name].cpu_s
                    now = hosts[0].pair
                    again = pushes.Files(now.private_key(), now.certificate_pem)
                    done = alternate({bare: partial(pushes.bare_ctrl, xmails, again, 32)}, 1)
                    samples[bare].wall_s += done[bare].wall_s
                    samples[bare].cpu_s += done[bare].cpu_s
                rows += _rows(count, samples, ours_name=name)
    return table(["N", "what", "median s", "CPU s, server included", "ours is"], rows)


def growth(counts: Sequence[int]) -> str:
    """Returns the table of how the whole path grows with the number of hosts (local ones)."""
    from tests.factories import local_host

    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        hosts = [local_host(Path(folder), f"g{number}") for number in range(max(counts))]
        pairs = new_pairs()
        deploy(next(pairs), hosts[:1])
        for count in counts:
            began, cpu = time.perf_counter(), cpu_s()
            deploy(next(pairs), hosts[:count])
            wall, used = time.perf_counter() - began, cpu_s() - cpu
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            rows.append([count, wall, wall / count * 1000, used, peak])
    return table(["N", "s", "ms a host", "CPU s", "peak memory, MiB"], rows)


def _rows(count: int, samples: dict[str, Sample], ours_name: str = "ours") -> list[list[object]]:
    ours = samples[ours_name].median_s
    return [
        [
            count, name, sample.median_s, sample.median_cpu_s,
            "" if name == ours_name else f"{ours / sample.median_s:.2f} ×",
        ]
        for name, sample in samples.items()
    ]  # fmt: skip
