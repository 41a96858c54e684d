"""The dialogues of the probe, word by word: SMTP, POP3 and CTRL as docs/xmail.md has them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl

from hosts.messages import Message, system_reason
from hosts.wire import Wire, shown

MAX_LINE = 2048
MAX_LINES = 100
FAREWELL_S = 2.0

#: endpoint -> protocol
PROTOCOLS = {
    "smtp": "smtp",
    "submission": "smtp",
    "smtps": "smtp",
    "pop3": "pop3",
    "pop3s": "pop3",
    "ctrls": "ctrl",
}
#: The endpoints that speak TLS from the first byte.
SECURED_AT_ONCE = frozenset({"smtps", "pop3s", "ctrls"})
#: How a good answer begins.
EXPECTED = {"smtp": "220", "pop3": "+OK", "ctrl": "+"}
_START = {"smtp": "STARTTLS", "pop3": "STLS"}
_SWITCH = {"smtp": "EnableSMTP-TLS", "pop3": "EnablePOP3-TLS"}
_SWITCHED_OFF = {"smtp": "454 TLS not available", "pop3": "-ERR Command disabled"}
_FAREWELL = {"smtp": "QUIT", "pop3": "QUIT", "ctrl": ""}  # CTRL knows none before a log-in
_REFUSAL = {"smtp": ("4", "5"), "pop3": ("-ERR",), "ctrl": ("-",)}
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
_XMAIL = re.compile(r"XMail(?:[ /](?P<version>[0-9][\w.+-]{0,29}))?", re.IGNORECASE)


class Failure(Exception):
    """The probe ends here: at this stage, for this reason."""

    def __init__(self, stage: str, message: Message) -> None:
        super().__init__(str(message))
        self.stage = stage
        self.message = message


class Channel(Wire):
    """A wire on which each step, and all of them together, has its time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self.xmail_version = ""
        self.chain: tuple[bytes, ...] = ()
        self.tls_version = ""
        self.cipher = ""
        self._timeout_s = timeout_s
        self._end = self._loop.time() + 2 * timeout_s

    def step(self, limit_s: float | None = None) -> asyncio.Timeout:
        """One step of the dialogue; TimeoutError when it takes too long."""
        limit = self._timeout_s if limit_s is None else min(limit_s, self._timeout_s)
        return asyncio.timeout_at(min(self._loop.time() + limit, self._end))

    async def hear(self) -> str:
        """The next line without its end; EOFError for a line cut short or without an end."""
        return (await self.line(MAX_LINE)).decode("latin-1")

    def say(self, line: str) -> None:
        """One line."""
        self.send(f"{line}\r\n".encode("ascii"))

    async def handshake(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        await super().handshake(context, server_name)
        assert self.tls is not None  # noqa: S101  since there was a handshake
        # Noted now: a session that the server breaks later tells nothing any more.
        self.chain = served_chain(self.tls)
        self.tls_version = self.tls.version() or ""
        self.cipher = (self.tls.cipher() or ("",))[0]


def served_chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates that the peer showed, as DER, leaf first; Python < 3.13 tells the leaf."""
    if whole := getattr(tls, "get_unverified_chain", None):
        return tuple(whole())
    leaf = tls.getpeercert(binary_form=True)
    return (leaf,) if leaf else ()


def broken_at_once(name: str) -> Failure:
    """What it means that the connection was accepted and dropped before a word was said."""
    if name in SECURED_AT_ONCE:
        return Failure("handshake", Message("probe.dropped_at_once"))
    return Failure("banner", Message("probe.closed_at_banner"))


async def talk(
    channel: Channel, name: str, context: ssl.SSLContext, server_name: str | None
) -> Message:
    """The dialogue on an open connection: what to say of a good one; raises Failure."""
    protocol = PROTOCOLS[name]
    if name in SECURED_AT_ONCE:
        await _handshake(channel, context, server_name, after_ready=False)
        return await _greeting_inside(channel, protocol)
    await _greeting(channel, protocol)
    await _start_tls(channel, protocol)
    await _handshake(channel, context, server_name, after_ready=True)
    return await _farewell(channel, protocol)


async def _greeting(channel: Channel, protocol: str) -> None:
    try:
        async with channel.step():
            text = await _reply(channel, protocol)
    except TimeoutError:
        raise Failure("banner", Message("probe.silent_banner")) from None
    except (OSError, EOFError):
        raise Failure("banner", Message("probe.closed_at_banner")) from None
    if text.startswith(_REFUSAL[protocol]):
        raise Failure("banner", Message("probe.turned_away", {"reply": shown(text)}))
    _recognise(channel, protocol, text)


def _recognise(channel: Channel, protocol: str, text: str) -> None:
    """Takes XMail's version from its greeting; raises Failure if somebody else greets."""
    if not text.startswith(EXPECTED[protocol]):
        raise Failure(
            "banner",
            Message("probe.other_protocol", {"protocol": protocol.upper(), "banner": shown(text)}),
        )
    if not (found := _XMAIL.search(text)):
        raise Failure("banner", Message("probe.not_xmail", {"banner": shown(text)}))
    channel.xmail_version = found["version"] or ""


async def _start_tls(channel: Channel, protocol: str) -> None:
    try:
        async with channel.step():
            if protocol == "smtp":
                channel.say("EHLO probe.invalid")
                await _reply(channel, protocol)
            channel.say(_START[protocol])
            text = await _reply(channel, protocol)
    except TimeoutError:
        raise Failure("command", Message("probe.silent_command")) from None
    except (OSError, EOFError):
        raise Failure("command", Message("probe.closed_at_command")) from None
    if text == _SWITCHED_OFF[protocol]:
        switch: dict[str, str | int] = {"setting": _SWITCH[protocol], "reply": text}
        raise Failure("command", Message("probe.tls_off", switch))
    if not text.startswith(EXPECTED[protocol]):
        raise Failure("command", Message("probe.command_refused", {"reply": shown(text)}))


async def _handshake(
    channel: Channel, context: ssl.SSLContext, server_name: str | None, *, after_ready: bool
) -> None:
    try:
        async with channel.step():
            await channel.handshake(context, server_name)
    except TimeoutError:
        raise Failure("handshake", Message("probe.silent_handshake")) from None
    except (ConnectionError, EOFError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        code = "probe.dropped_after_ready" if after_ready else "probe.dropped_at_once"
        raise Failure("handshake", Message(code)) from None
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        code = "probe.not_tls" if error.reason in _NOT_TLS else "probe.tls_failed"
        raise Failure("handshake", Message(code, {"reason": reason})) from None
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise Failure("handshake", Message("probe.tls_failed", {"reason": reason})) from None


async def _greeting_inside(channel: Channel, protocol: str) -> Message:
    """The greeting that follows an immediate handshake. Its absence takes nothing from the proof
    that the certificate was served, unless the server broke the connection."""
    try:
        async with channel.step():
            text = await _reply(channel, protocol)
    except TimeoutError:
        return Message("probe.ok_silent")
    except (OSError, EOFError):
        raise Failure("handshake", Message("probe.dropped_after_handshake")) from None
    if text.startswith(_REFUSAL[protocol]):  # for instance CTRL's "does not like Your IP"
        return Message("probe.ok_turned_away", {"reply": shown(text)})
    _recognise(channel, protocol, text)
    with contextlib.suppress(OSError, EOFError):
        async with channel.step(FAREWELL_S):
            if _FAREWELL[protocol]:
                channel.say(_FAREWELL[protocol])
    return Message("probe.ok")


async def _farewell(channel: Channel, protocol: str) -> Message:
    """One command inside TLS: with TLS 1.3 a server that demands a client certificate breaks the
    connection only after the client has finished its handshake."""
    try:
        async with channel.step(FAREWELL_S):
            channel.say(_FAREWELL[protocol])
            await _reply(channel, protocol)
    except TimeoutError:
        return Message("probe.ok_silent")
    except (OSError, EOFError):
        raise Failure("handshake", Message("probe.dropped_after_handshake")) from None
    return Message("probe.ok")


async def _reply(channel: Channel, protocol: str) -> str:
    """The first line of an answer, the whole of which has been read; EOFError if it never ends."""
    first = line = await channel.hear()
    for _ in range(MAX_LINES):
        if protocol != "smtp" or line[3:4] != "-" or not line[:3].isdigit():
            return first
        line = await channel.hear()
    raise EOFError
