"""What the XMail double makes of the lines of files and commands, as XMail does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.doubles.client import Client, login, put
from tests.doubles.xmail import XMail


@pytest.fixture
def ctrl(xmail: XMail) -> Iterator[Client]:
    with closing(Client(xmail.ports["ctrl"])) as client:
        assert login(client, xmail) == "+00000 OK"
        yield client


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"a\r\r\nb\rc\n\nd", ["a", "b\rc", "", "d"]),
        (b"a\0b\nc", ["a", "c"]),
        (b"." * 2045 + b"\n", ["." * 2046]),
        (b"x" * 2046 + b"\n", ["x" * 2046, ""]),
        (b"x" * 5000 + b"\n", ["x" * 2046, "x" * 2046, "x" * 908]),
        (b"", []),
    ],
)
def test_ctrl_gives_lines(xmail: XMail, ctrl: Client, text: bytes, lines: list[str]) -> None:
    (xmail.mailroot / "x.txt").write_bytes(text)
    assert ctrl.ask('"cfgfileget"\t"x.txt"') == "+00100 OK"
    assert ctrl.until(".") == lines


def test_ctrl_gives_a_directory_as_an_empty_file(xmail: XMail, ctrl: Client) -> None:
    (xmail.mailroot / "folder").mkdir()
    assert ctrl.ask('"cfgfileget"\t"folder"') == "+00100 OK"
    assert ctrl.until(".") == []


def test_ctrl_takes_lines(xmail: XMail, ctrl: Client) -> None:
    put(ctrl, "x.txt", "x" * 2044, "a\0b", "c\r", " d\t")
    stored = b"x" * 2044 + b"\na\nc\n d\t\n"
    assert (xmail.mailroot / "x.txt").read_bytes() == stored


def test_a_long_line_ends_the_data_and_the_rest_is_commands(xmail: XMail, ctrl: Client) -> None:
    assert put(ctrl, "x.txt", "first", "x" * 2045, '"noop"') == "+00000 OK"
    answers = [ctrl.line() for _ in range(3)]
    bad = "-00103 Bad CTRL command syntax"
    assert answers == [bad, "+00000 OK", bad]
    assert (xmail.mailroot / "x.txt").read_bytes() == b"first\n"


def test_commands_and_data_may_come_at_once(xmail: XMail, ctrl: Client) -> None:
    write, erase = ('"cfgfileset"\t"x.txt"', "a", "..b", "."), ('"cfgfileset"\t"x.txt"', ".")
    ctrl.say(*write, '"cfgfileget"\t"x.txt"', *erase, '"noop"')
    assert [ctrl.line() for _ in range(3)] == ["+00101 OK", "+00000 OK", "+00100 OK"]
    assert ctrl.until(".") == ["a", "..b"]
    assert [ctrl.line() for _ in range(3)] == ["+00101 OK", "+00000 OK", "+00000 OK"]


@pytest.mark.parametrize("line", ['"cfgfileget"\t"' + "a" * 4100 + '"', '"cfgfileget"\t"é"'])
def test_some_commands_end_the_session(xmail: XMail, ctrl: Client, line: str) -> None:
    ctrl.say(line)
    with pytest.raises((EOFError, ConnectionError)):
        ctrl.line()


@pytest.mark.parametrize("line", ['"' + "a" * 260 + '"\t"x"', '"é"\t"x"'])
def test_some_log_ins_end_the_session(xmail: XMail, line: str) -> None:
    with closing(Client(xmail.ports["ctrl"])) as client:
        client.line()
        client.say(line)
        with pytest.raises((EOFError, ConnectionError)):
            client.line()
