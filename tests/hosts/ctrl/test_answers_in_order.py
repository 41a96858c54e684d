"""Several commands are under way at once: no answer may be taken for that to another command."""

from __future__ import annotations

import asyncio

import pytest

from hosts.ctrl import CtrlError, Refused, Session
from tests.doubles.mailroot import PASSWORD, USER
from tests.doubles.xmail import XMail
from tests.hosts.ctrl.cases import OLD


async def logged_in(xmail: XMail) -> Session:
    session = await Session.open("127.0.0.1", xmail.ports["ctrl"], timeout_s=5)
    await session.start_tls()
    await session.login(USER, PASSWORD)
    return session


async def test_a_refusal_in_the_midst_leaves_the_rest_in_order(xmail: XMail) -> None:
    session = await logged_in(xmail)
    with pytest.raises(Refused):
        await session.get("server.key", "../outside", "server.cert")
    assert await session.get("server.cert", "server.key") == [OLD.certificate, OLD.key]
    session.close()


async def test_a_step_that_was_given_up_leaves_no_answer_for_the_next(xmail: XMail) -> None:
    session = await logged_in(xmail)
    xmail.faults.reply_delay_s = 0.2
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await session.get("server.key", "server.cert")
    xmail.faults.reply_delay_s = 0
    await asyncio.sleep(0.5)
    with pytest.raises(CtrlError) as caught:
        await session.get("server.cert")
    assert caught.value.message.code == "ctrl.lost"


async def test_an_answer_that_nobody_understands_ends_the_session_and_is_not_repeated(
    xmail: XMail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a line of a key."""
    session = await logged_in(xmail)
    wire = session._wire
    monkeypatch.setattr(wire, "_buffer", bytearray(b"MIIEvgIBADANBgkqhkiG9w0BAQEF\r\n"))
    with pytest.raises(CtrlError) as caught:
        await session.get("server.key", "server.cert")
    assert caught.value.message.code == "ctrl.not_xmail"
    assert "MIIE" not in str(caught.value)
    with pytest.raises(CtrlError) as caught:
        await session.get("server.cert")
    assert caught.value.message.code == "ctrl.lost"
