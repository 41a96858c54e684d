"""Installs a pair on one host, or takes it away; one algorithm whatever the transport.

Whatever happens on the way, the host ends with exactly what it held before or with the complete
new pair, and the outcome says which. An interrupted run is taken over by a new one that knows, as
`Order.previous`, what the host held before the first run: it rolls forward, and restores that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from certs.certificate_file import public_part
from hosts import probe as probes
from hosts.key_mode import KeyMode
from hosts.mailroot import SERVER_TAB
from hosts.messages import Message
from hosts.order import Journal, LeaseLost, Order, Outcome, PairFiles
from hosts.probe import EndpointResult
from hosts.proof import Probe, Proof, name_all
from hosts.together import together
from hosts.transports.base import (
    SSLCONF,
    ChannelUnusable,
    File,
    Transport,
    TransportError,
)

__all__ = ["Journal", "LeaseLost", "Order", "Outcome", "PairFiles", "install"]

KEY, CERTIFICATE = "server.key", "server.cert"
#: How long a host that failed in the switch is given to be mended; then a later run goes on.
MENDING_S = 15.0


async def install(
    transport: Transport, order: Order, journal: Journal, probe: Probe = probes.probe
) -> Outcome:
    """Do what is ordered and say how it ended.

    Expected failures are outcomes. Raises LeaseLost if the journal does, and whatever is a bug.
    """
    run = _Run(transport, order, journal, probe)
    try:
        outcome = await run.go()
    except TransportError as error:
        outcome = run.failed(run.named(error.message), permanent=error.permanent)
    finally:
        await transport.close()
    await run.step("RECORD", Message("install.recording"))
    return outcome


class _Run:
    def __init__(self, transport: Transport, order: Order, journal: Journal, probe: Probe) -> None:
        self.transport = transport
        self.order = order
        self.journal = journal
        folder = f"{SSLCONF}/" if order.place_only else ""
        self.key_path, self.certificate_path = folder + KEY, folder + CERTIFICATE
        self.mode = KeyMode(transport, self.key_path)
        self.previous = order.previous
        self.resumed = order.previous is not None
        self.switching = False
        #: Whether this run, or the one before it, has logged in in clear: once is all they may.
        self.was_in_clear = order.was_in_clear
        #: Whether the switch broke and left no secure channel to the host.
        self.locked_out = False
        self.key_written = False
        #: Whether the host may hold a mixture; an interrupted run may have left one.
        self.unsettled = self.resumed
        self.give_up_at: float | None = None
        self.notes: list[Message] = []
        #: What writes before the last one told: of interest as long as nothing has mended it.
        self.earlier: list[Message] = []
        endpoints = () if order.place_only else order.endpoints
        self.proof = Proof(order.address, endpoints, probe, transport.target.allowed_networks)

    # The way forward.

    async def go(self) -> Outcome:
        where = {"transport": self.transport.target.transport, "host": self.transport.target.name}
        await self.step("CONNECT", Message("install.connecting", where))
        if self.resumed:
            self._trust_what_is_installed()
        await self._connect()
        if not self.transport.confidential and not self.order.files.empty:
            return self.failed(Message("install.not_confidential"), permanent=True)
        looks = (self._make_sure_of_mailroot(), self._read(), self.mode.look_before())
        _, held, _ = await together(*looks)
        if self.previous is None:
            self.previous = held
        self._settle(held)
        if self._same(held, self.order.files) and self._same(self.previous, held):
            return await self._unchanged(held)
        if not self.resumed:
            await self.step("ADOPT", Message("install.adopting"))
            await self.journal.adopt(held)
        await self.proof.look_before()
        half_done = self.resumed and not self._same(held, self.previous)
        if not self._same(held, self.order.files):
            try:
                await self._write(self.order.files)
            except TransportError as error:
                if not self.switching:
                    raise
                outcome = await self._after_a_broken_switch(error)
                if outcome:
                    return outcome
        return await self._prove(suspicious=half_done or self._first)

    async def _make_sure_of_mailroot(self) -> None:
        """Write nothing into a directory that has become another one."""
        if self.transport.by_path and await self.transport.info(SERVER_TAB) is None:
            message = Message("install.no_mailroot", {"path": self.transport.target.mailroot})
            raise TransportError(message, permanent=True)

    @property
    def _first(self) -> bool:
        """Whether the host had no pair before."""
        return self.previous is not None and None in {self.previous.key, self.previous.certificate}

    async def _unchanged(self, held: PairFiles) -> Outcome:
        if held.empty:
            return self._outcome("UNCHANGED", Message("install.nothing_there"))
        if self.mode.was_open:
            await self._mend_mode()
        if self.order.place_only:
            return self._outcome("UNCHANGED", Message("install.already_placed"))
        await self.step("VERIFY", self._verifying())
        await self.proof.look(self.order.files.sha256)
        return self._outcome("UNCHANGED", self._praise("install.unchanged"))

    async def _mend_mode(self) -> None:
        await self.proof.look_before()
        mode = f"{self.mode.before:04o}"
        await self.step("SWITCH", Message("install.mending_mode", {"mode": mode}))
        note = await self.mode.mend()
        await self.proof.look(self.order.files.sha256)
        if self.proof.lost(self.order.files.sha256, suspicious=False):
            note = await self.mode.give_back()
            await self.proof.look(self.order.files.sha256)
        self.notes.append(note)

    async def _write(self, files: PairFiles) -> None:
        """Put these files in place of whatever is there; None means no such file."""
        wanted = files.placed(self.key_path, self.certificate_path)
        writes = [File(path, data, private) for path, data, private in wanted if data is not None]
        removals = [path for path, data, _ in wanted if data is None]
        async with self._in_time():
            if not writes:
                await self._begin_switch()
            else:
                await self.step("STAGE", Message("install.staging"))
                self.earlier += self.transport.notes
                self.transport.notes.clear()
                await self.transport.replace_all(writes, self.order.token, ready=self._begin_switch)
                self.key_written = self.key_written or files.key is not None
            if removals:
                await self.transport.remove(removals)

    async def _begin_switch(self) -> None:
        code = "install.removing" if self.order.files.empty else "install.switching"
        await self.step("SWITCH", Message(code))
        self.switching = True
        self._trust_what_is_installed()

    async def _after_a_broken_switch(self, error: TransportError) -> Outcome | None:
        """Find out what is there, then finish or restore; None if the new pair is complete."""
        self.notes.append(error.message)
        held = await self._look()
        if self._same(held, self.previous):
            return self.failed(error.message, permanent=error.permanent)
        if not self._same(held, self.order.files):
            try:
                await self._write(self.order.files)
                held = await self._look()
            except TransportError as again:
                self.notes.append(again.message)
        if self._same(held, self.order.files):
            return None
        return await self._restore("switch")

    async def _prove(self, *, suspicious: bool) -> Outcome:
        await self.step("READ_BACK", Message("install.reading_back"))
        held = await self._look()
        if not self._same(held, self.order.files):
            return await self._restore("read_back")
        if self.order.files.empty:
            return self._outcome("REMOVED", Message("install.removed"))
        self.key_written = True
        await self._check_mode()
        if self.order.place_only:
            return self._outcome("PLACED", Message("install.placed"))
        await self.step("VERIFY", self._verifying())
        sha256 = self.order.files.sha256
        await self.proof.look(sha256)
        lost = self.proof.lost(sha256, suspicious=suspicious)
        if lost:
            return await self._restore("endpoints", name_all(lost))
        return self._outcome("INSTALLED", self._praise("install.installed"))

    async def _check_mode(self) -> None:
        """Say so if the key can be read by others and the portal cannot help it."""
        if self.transport.sets_mode:
            try:
                note = self.mode.note_open(await self.transport.info(self.key_path))
            except TransportError as error:  # the pair is there all the same
                note = error.message
            if note:
                self.notes.append(note)
        elif self.transport.target.os == "windows":
            self.notes.append(Message("install.mode_windows", self.mode.where))
        elif self.previous is not None:
            before = (self.previous.key, self.previous.certificate)
            placed = self.order.files.placed(self.key_path, self.certificate_path)
            for (path, data, private), there in zip(placed, before, strict=True):
                if private and data is not None and there is None:
                    where = f"{self.transport.target.mailroot}/{path}"
                    self.notes.append(Message("install.mode_0666", {"path": where}))

    # The way back.

    async def _restore(self, reason: str, endpoints: str = "") -> Outcome:
        """Put back what was there before, prove that too, and say both."""
        assert self.previous is not None  # noqa: S101  nothing is written before it is known
        params = {"endpoints": endpoints} if endpoints else {}
        broken = self.proof.results
        await self.step("RESTORE", Message("install.restoring"))
        try:
            try:
                await self._write(self.previous)
            except TransportError as error:
                self.notes.append(error.message)
                if not self._same(await self._look(), self.previous):
                    await self._write(self.previous)
            held: PairFiles | None = await self._look()
        except TransportError as error:
            self.notes.append(error.message)
            held = None
        if held is None or not self._same(held, self.previous):
            self.unsettled = True
            return self.failed(Message(f"install.{reason}_restore_failed", params), broken)
        self.key_written = False
        sha256 = self.previous.sha256
        await self.proof.look(sha256)
        if self.mode.was_open and not self.proof.restored(sha256, resumed=self.resumed):
            await self._let_be_read_again(sha256)
        if self.proof.restored(sha256, resumed=self.resumed):
            return self._outcome(
                "ROLLED_BACK", Message(f"install.{reason}_restored", params), broken
            )
        self.notes.append(
            Message("install.not_serving", {"endpoints": name_all(self.proof.others(sha256))})
        )
        return self._outcome("ROLLED_BACK", Message(f"install.{reason}_unproven", params), broken)

    async def _let_be_read_again(self, sha256: str) -> None:
        """The mode, too, was what there was before, and an XMail may need it."""
        try:
            note = await self.mode.give_back()
            await self.proof.look(sha256)
            if not self.proof.restored(sha256, resumed=self.resumed):
                note = await self.mode.mend()  # that was not it
        except TransportError as error:
            note = error.message
        self.notes.append(note)

    # The channel.

    def _trust_what_is_installed(self) -> None:
        # What lies in sslconf is nothing that the host presents.
        if self.transport.identity_is_pair and not self.order.place_only:
            both = [self.order.files, self.previous or self.order.files]
            known = frozenset(files.sha256 for files in both) | self.order.also_trusted
            self.transport.also_trusted = known - {""}

    async def _connect(self) -> None:
        try:
            await self.transport.connect()
        except ChannelUnusable as error:
            # What lies in sslconf is no matter of the channel.
            broke_it = self.switching or self.order.switched
            self.locked_out = broke_it and not self.order.place_only
            # Whoever is in between can relay a login in clear: there is none before a key was sent,
            # and no second one.
            if self.was_in_clear or not self.locked_out:
                raise
            await self._finish_in_clear(error)
        self.locked_out = False

    async def _look(self) -> PairFiles:
        """What is there now, over a new connection if the one in use is broken."""
        with suppress(TransportError):
            return self._settle(await self._read())
        if self.give_up_at is None:
            self.give_up_at = asyncio.get_running_loop().time() + MENDING_S
        await self.transport.close()
        try:
            async with self._in_time():
                await self._connect()
                return self._settle(await self._read())
        except TransportError as error:
            self.notes.append(error.message)
            self.unsettled = True
            raise TransportError(self._unknown, permanent=error.permanent) from error

    def _settle(self, held: PairFiles) -> PairFiles:
        self.unsettled = not (self._same(held, self.previous) or self._same(held, self.order.files))
        return held

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """What is done to mend a host that failed in the switch: it has only so much time."""
        try:
            async with asyncio.timeout_at(self.give_up_at):
                yield
        except TimeoutError:
            seconds = round(MENDING_S)
            raise TransportError(Message("install.gave_up", {"seconds": seconds})) from None

    async def _finish_in_clear(self, unusable: ChannelUnusable) -> None:
        """Reach the host again whose channel broke while the two files did not match.

        Only certificates, which are public, are written: the new ones, for the key was sent first,
        and should those not match, the previous ones. Then the secure channel works again, and what
        else belongs into the file follows by that. A pair whose key is gone already is removed.
        """
        await self.transport.close()
        await self.transport.connect_in_clear(ready=self._begin_in_clear)
        if self.order.files.empty:
            if await self.transport.info(self.key_path) is None:
                await self.transport.remove([self.certificate_path])
            return None
        both = [
            public_part(files.certificate or b"")
            for files in (self.order.files, self.previous)
            if files
        ]
        for number, certificate in enumerate(filter(None, both)):
            if number:
                await self._begin_in_clear()
            try:
                file = File(self.certificate_path, certificate)
                await self.transport.replace_all([file], self.order.token)
            except TransportError as error:  # it may be there all the same
                self.notes.append(error.message)
            try:
                return await self.transport.connect()
            except ChannelUnusable:
                continue
        await self.transport.close()
        raise unusable

    async def _begin_in_clear(self) -> None:
        """Make sure that the host is still ours, and let nobody do this again."""
        removing = self.order.files.empty
        code = "install.removing_in_clear" if removing else "install.finishing_in_clear"
        await self.step("SWITCH", Message(code))
        self.was_in_clear = True

    async def _read(self) -> PairFiles:
        return PairFiles(*await self.transport.read_all((self.key_path, self.certificate_path)))

    # Words.

    async def step(self, step: str, message: Message) -> None:
        await self.journal.step(step, message)

    def _verifying(self) -> Message:
        if not self.proof.endpoints:
            return Message("install.verifying_quiet")
        return Message("install.verifying", {"endpoints": name_all(self.proof.endpoints)})

    def _praise(self, code: str) -> Message:
        others = self.proof.others(self.order.files.sha256)
        if others:
            return Message(f"{code}_unproven", {"endpoints": name_all(others)})
        if not self.proof.endpoints:
            return Message(f"{code}_quiet")
        return Message(code, {"endpoints": name_all(self.proof.endpoints)})

    def named(self, cause: Message) -> Message:
        """What to say of a run that ended so; that the host may hold a mixture comes first."""
        if not self.unsettled or cause == self._unknown:
            return cause
        self.notes.append(cause)
        return self._unknown

    @property
    def _unknown(self) -> Message:
        if not self.locked_out:
            return Message("install.unknown_state")
        path = f"{self.transport.target.mailroot}/{self.certificate_path}"
        removing = self.order.files.empty
        return Message("install.by_hand_removal" if removing else "install.by_hand", {"path": path})

    def failed(
        self,
        message: Message,
        endpoints: list[EndpointResult] | None = None,
        *,
        permanent: bool = False,
    ) -> Outcome:
        outcome = self._outcome("FAILED", message, endpoints)
        outcome.permanent = permanent
        return outcome

    def _outcome(
        self, status: str, message: Message, endpoints: list[EndpointResult] | None = None
    ) -> Outcome:
        earlier = self.earlier if self.unsettled else []
        notes = [*self.notes, *earlier, *self.transport.notes]
        return Outcome(
            status=status,
            message=message,
            endpoints=self.proof.results if endpoints is None else endpoints,
            previous=self.previous,
            notes=[
                note for at, note in enumerate(notes) if note != message and note not in notes[:at]
            ],
            key_written=self.key_written,
            unsettled=self.unsettled,
        )

    def _same(self, one: PairFiles, other: PairFiles | None) -> bool:
        canonical = self.transport.canonical
        return one == other or (
            other is not None
            and canonical(one.certificate) == canonical(other.certificate)
            and canonical(one.key) == canonical(other.key)
        )
