"""The permissions of the private key on a host: others shall have none, but XMail must read it."""

from __future__ import annotations

from hosts.messages import Message
from hosts.transports.base import PRIVATE_MODE, FileInfo, Transport

OPEN_TO_OTHERS = 0o077
READ_BY_OTHERS = 0o044


class KeyMode:
    """The mode of the key of one host, and what it was before anything was changed.

    An XMail that is not the owner of its key may have read it through its group. With 0600 it
    offers no TLS any more, and the content alone does not bring that back.
    """

    def __init__(self, transport: Transport, path: str) -> None:
        self.transport = transport
        self.path = path
        self.before: int | None = None

    async def look_before(self) -> None:
        """Remember the mode, where the transport can tell and set it."""
        if self.transport.sets_mode:
            found = await self.transport.info(self.path)
            self.before = found.mode if found else None

    @property
    def was_open(self) -> bool:
        """Whether others had access."""
        return bool((self.before or 0) & OPEN_TO_OTHERS)

    async def mend(self) -> Message:
        """Take the access of others away; what to tell about it."""
        await self.transport.set_mode(self.path, PRIVATE_MODE)
        found = await self.transport.info(self.path)
        mended = Message("install.mode_mended", {"mode": f"{self.before or 0:04o}"})
        return self.note_open(found) or mended

    async def give_back(self) -> Message:
        """Let those read the key again who could before; what to tell about it."""
        mode = PRIVATE_MODE | (self.before or 0) & READ_BY_OTHERS
        await self.transport.set_mode(self.path, mode)
        return Message("install.mode_needed", self.where | {"mode": f"{mode:04o}"})

    def note_open(self, found: FileInfo | None) -> Message | None:
        """What to tell of a key that others can read; None if they cannot, as far as is known."""
        if found is None or found.mode is None or not found.mode & OPEN_TO_OTHERS:
            return None
        return Message("install.mode_stays", self.where | {"mode": f"{found.mode:04o}"})

    @property
    def where(self) -> dict[str, str | int]:
        """The file, as a parameter of a message."""
        return {"path": f"{self.transport.target.mailroot}/{self.path}"}
