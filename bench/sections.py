"""What is measured, how, and why a target is missed where one is."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import MISSED
from bench.portal import set_up
from tests.doubles.real_xmail import BINARY
from tests.servers import postgres_server

__all__ = ["SECTIONS", "Section"]


@dataclass(frozen=True)
class Section:
    """One benchmark. `how` says how it is measured, `missed` why a target is not met."""

    title: str
    run: Callable[[Namespace], str]
    how: str
    missed: str = ""
    postgresql: bool = False
    in_process: bool = True  # needs Django here; else it only drives portals elsewhere

    def text(self, chosen: Namespace) -> str:
        """Runs it and returns the section of RESULTS.md."""
        if self.postgresql:
            with postgres_server() as url:
                set_up(url)
                found = self.run(chosen)
                _disconnect()
        else:
            if self.in_process:
                set_up()
            found = self.run(chosen)
        parts = [f"## {self.title}", self.how, found]
        if MISSED in found:
            parts.append(f"Why a target is missed: {self.missed or 'not explained yet.'}")
        return "\n\n".join(part.strip() for part in parts) + "\n"


def _disconnect() -> None:
    from django.db import connections

    connections.close_all()


def _sftp(chosen: Namespace) -> str:
    from bench import sftp

    return sftp.against_others(chosen.hosts, chosen.times)


def _far(chosen: Namespace) -> str:
    from bench import sftp

    return sftp.far_away(100 if 100 in chosen.hosts else chosen.hosts[0], chosen.times)


def _ctrl(chosen: Namespace) -> str:
    from bench import ctrl

    return ctrl.against_bare(chosen.hosts, chosen.times)


def _workers(chosen: Namespace) -> str:
    from bench import workers

    return workers.one_and_two(max(100, min(200, max(chosen.hosts))), min(chosen.times, 3))


def _growth(chosen: Namespace) -> str:
    from bench import workers

    return workers.growth([1, *chosen.grown])


def _making(chosen: Namespace) -> str:
    from bench import making

    return making.against_openssl(chosen.times) + "\n" + making.through_the_portal(chosen.times)


def _embedded(chosen: Namespace) -> str:
    from bench import starting

    return starting.embedded(chosen.times)


def _pages(chosen: Namespace) -> str:
    from bench import pages

    return pages.walk(chosen.installations or 100_000, chosen.times)


def _pages_postgresql(chosen: Namespace) -> str:
    from bench import pages

    return pages.walk(chosen.installations or 1_000_000, chosen.times)


SERVERS = (
    "XMail itself, a process for each host, on the same cores"
    if BINARY
    else "stand-ins for XMail in two other processes on the same cores"
)
SERVER_TIME = (
    "Every deployment was to all hosts. Server time is that of the whole request in Django, with "
    "every middleware, as an administrator sees the page."
)

SECTIONS = {
    "sftp": Section(
        "One pair to N hosts by SFTP",
        _sftp,
        "Every host is a MailRoot behind one OpenSSH server on this machine, and every push is a "
        "connection of its own. Ours is the whole path: claim the host, read and adopt what is "
        "there, stage, switch, read back, record; no service is probed. The others write both "
        "files beside their places and rename them (Ansible: its copy module), and know nothing "
        "afterwards. Medians; all take turns in the same run.",
        missed="Ours asks each server 43 things where the bare push asks 8: it reads both files "
        "that are there, makes sure that neither is a link out of MailRoot, clears sslconf of what "
        "dead runs left, keeps owner and mode, flushes each file to the disk, reads both back and "
        "looks at the key's mode. That alone, without a database, is 1.2 times the bare push; the "
        "history makes the rest.",
    ),
    "distance": Section(
        "The same over 40 ms",
        _far,
        "A proxy in a process of its own passes everything on at once or 20 ms later, each way; "
        "a connection is there after 40 ms.",
        missed="What waits is the chain of answers of the last hosts: some twenty round trips for "
        "each, half of them SSH's own. The bare push, which has fewer, loses as much by its own "
        "measure.",
    ),
    "ctrl": Section(
        "One pair to N hosts by CTRL",
        _ctrl,
        f"The servers are {SERVERS}. Bare "
        "sockets are Python threads with a new TLS session for each host on the same port, that "
        "log in, send the key and the certificate in one write each, and read or check nothing. "
        "Ours reads, keeps, tries the disk, writes, reads back and records; with probes it also "
        "does a handshake with each of SMTP, SMTPS, POP3, POP3S and CTRLS before and after.",
        missed="Ours has each server answer sixteen commands in nine round trips where the bare "
        "client has five in seven: it reads the pair that is there and asks for its sizes, which "
        "is what a roll back needs, writes, reads back and deletes a scratch file, since XMail on "
        "a full disk destroys what it overwrites, and reads back each file once before the next is "
        "written and both at the end. That costs the stand-ins, which are Python on these two "
        "cores, more than it costs the client; XMail itself answers faster. With probes "
        "there are ten more handshakes a host, and the last line shows what five bare ones cost: "
        "no portal that looks at five services can meet that target where the servers share its "
        "two cores.",
    ),
    "workers": Section(
        "Two workers instead of one",
        _workers,
        "Hosts whose SMTP answers every line after 200 ms; PostgreSQL and Redis; each worker does "
        "one chunk of hosts at a time. Medians of three at most, from the first host begun to the "
        "last one done.",
        in_process=False,
    ),
    "growth": Section(
        "How cost grows",
        _growth,
        "Local hosts; PostgreSQL and Redis, a web process and a worker. A pair is made and "
        "installed by the form of the web page; time is from there to the last host's record. "
        "Memory is the peak of each process until all hosts were also looked at afterwards.",
        in_process=False,
    ),
    "making": Section(
        "Making a pair",
        _making,
        "`openssl req -x509 -newkey` with the same kind of key, by turns; then a running embedded "
        "portal, from the POST of the form until the audit says that the pair is issued.",
    ),
    "embedded": Section(
        "The embedded portal",
        _embedded,
        "`manage.py up` on a data directory that is there, until the page to sign in was served; "
        "then half a minute with nothing to do.",
        in_process=False,
        missed="Polling the broker in memory every 50 ms, the sweep and the ticker. The machine "
        "was slower than before: code that used 0.63 % in the morning used 1.3 % now.",
    ),
    "pages": Section("Pages on SQLite", _pages, SERVER_TIME),
    "pages-postgresql": Section(
        "Pages on PostgreSQL",
        _pages_postgresql,
        SERVER_TIME,
        postgresql=True,
    ),
}
