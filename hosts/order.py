"""What shall be on a host, how a run says what it does, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from certs.certificate_file import is_private
from hosts.messages import Message
from hosts.probe import Endpoint, EndpointResult
from hosts.transports.base import leaf_sha256

#: What a run says just before it logs in in clear: an installation that has said so has done it.
IN_CLEAR = frozenset({"install.finishing_in_clear", "install.removing_in_clear"})


class LeaseLost(Exception):
    """Another worker has taken over: leave the host alone at once."""


@dataclass(frozen=True)
class PairFiles:
    """What lies (or shall lie) under XMail's two names; None = no such file."""

    key: bytes | None = field(repr=False)
    certificate: bytes | None = field(repr=False)  # it may hold a key too

    @property
    def empty(self) -> bool:
        return self.key is None and self.certificate is None

    def placed(self, key: str, certificate: str) -> list[tuple[str, bytes | None, bool]]:
        """Each file by these paths, and whether it is private: a found one may hold a key."""
        return [(key, self.key, True), (certificate, self.certificate, self._is_private)]

    @cached_property  # the same for each host of a chunk, and OpenSSL has to read it
    def _is_private(self) -> bool:
        return self.certificate is not None and is_private(self.certificate)

    @property
    def sha256(self) -> str:
        """The fingerprint of the certificate; "" without one."""
        return leaf_sha256(self.certificate)


@dataclass(frozen=True)
class Order:
    """What shall be on a host: `files` (both None = no pair), in MailRoot or only in sslconf.

    `previous` is known when an interrupted run has adopted it: what the host held before that.
    """

    files: PairFiles
    place_only: bool
    token: str
    endpoints: Sequence[Endpoint] = ()
    address: str = ""
    previous: PairFiles | None = None
    #: Whether that run had begun to replace files.
    switched: bool = False
    #: Whether that run has logged in in clear, which is allowed once.
    was_in_clear: bool = False
    #: SHA-256 of certificates that a worker which was overtaken may have left, beside those two.
    also_trusted: frozenset[str] = frozenset()


class Journal(Protocol):
    """Where a run says what it is about to do, durably before it changes anything."""

    async def step(self, step: str, message: Message) -> None:
        """Record the next step: CONNECT ADOPT STAGE SWITCH READ_BACK VERIFY RESTORE RECORD.

        Raises LeaseLost if this run no longer owns the host, at the latest before a step that
        changes it: STAGE SWITCH RESTORE.
        """

    async def adopt(self, previous: PairFiles) -> None:
        """Keep what the host holds; nothing can lose it any more when the next step that changes
        the host is recorded."""


@dataclass
class Outcome:
    """How it ended: INSTALLED UNCHANGED PLACED REMOVED ROLLED_BACK or FAILED, and why.

    `permanent`: trying again cannot help before a person changed something. `unsettled`: the host
    may hold a mixture, so the same order shall be run again, with `previous`, when it can be.
    """

    status: str
    message: Message
    endpoints: list[EndpointResult] = field(default_factory=list)
    previous: PairFiles | None = None
    notes: list[Message] = field(default_factory=list)
    key_written: bool = False
    permanent: bool = False
    unsettled: bool = False
