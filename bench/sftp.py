"""One pair to N hosts by SFTP: our whole path against bare pushes of the same files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from bench import pushes
from bench.deploying import deploy, new_pairs, sftp_hosts
from bench.distance import distant
from bench.measure import Sample, alternate, met, table

BARE = "asyncssh, 100 at once"
ANSIBLE = "Ansible, 50 forks, pipelining"
MOST, FASTER, FARTHER = 1.5, 20, 1.3
ONE_WAY_S = 0.020


def against_others(counts: Sequence[int], times: int) -> str:
    """Returns the table of ours, asyncssh, OpenSSH's client, paramiko and Ansible."""
    rows: list[list[object]] = []
    controller_s = 0.0
    for count in counts:
        with sftp_hosts(count) as (server, roots, hosts):
            # Ours always switches to one pair, and the others then back to the other one.
            pairs = new_pairs()
            pair, other = next(pairs), next(pairs)
            files = pushes.Files(pair.private_key(), pair.certificate_file())
            pushes.bare_asyncssh(server, roots, files, 100)
            pushed = (server, roots, files)
            contestants: dict[str, Callable[[], object]] = {
                "ours": partial(deploy, other, hosts),
                BARE: partial(pushes.bare_asyncssh, *pushed, 100),
                "OpenSSH sftp, 8 at once": partial(pushes.openssh_sftp, *pushed, 8),
                "paramiko, 32 threads": partial(pushes.paramiko_threads, *pushed, 32),
            }
            samples = alternate(contestants, times)
            if count <= 100:  # it takes a minute for a hundred
                runs = min(times, 3 if count <= 10 else 2)
                slow = alternate({ANSIBLE: partial(pushes.ansible, *pushed, 50)}, runs)
                samples |= {f"{ANSIBLE} ({runs} runs)": slow[ANSIBLE]}
                controller_s = slow[ANSIBLE].median_cpu_s
            rows += _rows(count, samples)
    head = ["N", "what", "median s", "CPU s of the client", "ours ÷ this", "target", "met?"]
    bound = controller_s / (os.cpu_count() or 1)
    return table(head, rows) + (
        "\nRead the lines of Ansible with care: it runs Python on every host, and here all hosts "
        "are this machine, so that what real hosts would do side by side is done by these cores "
        f"one after the other. Its controller alone used {controller_s:.3g} CPU seconds in the "
        f"last line above, so that on this machine it could not take less than {bound:.3g} s "
        "however fast the hosts were.\n"
    )


def _rows(count: int, samples: dict[str, Sample]) -> list[list[object]]:
    ours = samples["ours"].median_s
    rows: list[list[object]] = []
    for name, sample in samples.items():
        ratio = ours / sample.median_s
        target = holds = said = ""
        if name != "ours":
            said = f"{ratio:.2f} ×" if ratio > 0.1 else f"1 ÷ {1 / ratio:.0f}"
        if name == BARE and count >= 100:
            target, holds = f"≤ {MOST} ×", met(ratio <= MOST)
        elif name.startswith(ANSIBLE) and count >= 100:
            target, holds = f"≤ 1 ÷ {FASTER}", met(1 / ratio >= FASTER)
        rows.append([count, name, sample.median_s, sample.median_cpu_s, said, target, holds])
    return rows


def far_away(count: int, times: int) -> str:
    """Returns the table of the same with 40 ms to every host and back."""
    samples: dict[str, dict[str, Sample]] = {}
    with sftp_hosts(count) as (server, roots, hosts):
        from hosts.models import Host

        pairs = new_pairs()
        first = next(pairs)
        files = pushes.Files(first.private_key(), first.certificate_file())
        with ExitStack() as stack:
            ports = {
                one_way: stack.enter_context(distant(server.port, one_way))
                for one_way in (0.0, ONE_WAY_S)
            }
            ids = [host.pk for host in hosts]

            def ours(port: int) -> None:
                Host.objects.filter(pk__in=ids).update(port=port)
                deploy(next(pairs), hosts)

            def bare(port: int) -> None:
                pushes.bare_asyncssh(replace(server, port=port), roots, files, 100)

            pushers = {"ours": ours, BARE: bare}
            for name, push in pushers.items():
                push(ports[0.0])  # nobody's first time counts
                named = {str(one_way): partial(push, port) for one_way, port in ports.items()}
                samples[name] = alternate(named, times)
    rows: list[list[object]] = []
    for name, found in samples.items():
        near, far = found["0.0"].median_s, found[str(ONE_WAY_S)].median_s
        targets = (f"≤ {FARTHER} ×", met(far <= FARTHER * near)) if name == "ours" else ("", "")
        rows.append([count, name, near, far, f"{far / near:.2f} ×", *targets])
    head = ["N", "what", "no delay, median s", "40 ms, median s", "ratio", "target", "met?"]
    return table(head, rows)
