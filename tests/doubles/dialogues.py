"""What XMail 1.27 says: SMTP, POP3 and CTRL, word for word as docs/xmail.md has them."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from tests.doubles.mailroot import accounts, flag, setting
from tests.doubles.wire import MAX_DATA, MAX_LOGIN, Gone, TooLong, Wire

VERSION = "XMail 1.27"
NOT_CREATED = "-00010 Unable to create file"
_FIELD = re.compile(r'^"([^"]*)"$')
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")


def smtp(wire: Wire) -> None:
    """One SMTP session, to its end."""
    domain = setting(wire.mailroot, "SmtpServerDomain", "localhost")
    _greet(wire, f"220 {domain} {_stamp(domain)} [{VERSION} ESMTP Server] service ready; {_date()}")
    while True:
        verb = wire.command().split(" ")[0].upper()
        if verb == "EHLO":
            wire.send(*_ehlo(wire, domain))
        elif verb == "HELO":
            wire.send(f"250 {domain}")
        elif verb in {"NOOP", "RSET"}:
            wire.send("250 OK")
        elif verb == "STARTTLS":
            _smtp_starttls(wire)
        elif verb == "QUIT":
            wire.stage("quit")
            wire.send(f"221 [{VERSION} ESMTP Server] service closing transmission channel")
            return
        else:
            wire.send("500 Syntax error, command unrecognized")


def _ehlo(wire: Wire, domain: str) -> list[str]:
    words = [domain, "VRFY", "ETRN", "8BITMIME", "PIPELINING"]
    words += ["AUTH LOGIN PLAIN CRAM-MD5", "SIZE"]
    if flag(wire.mailroot, "EnableSMTP-TLS", "1") and not wire.tls:
        words.append("STARTTLS")
    return [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]


def _smtp_starttls(wire: Wire) -> None:
    if wire.tls:
        wire.send("454 TLS not available due to temporary reason")
    elif not flag(wire.mailroot, "EnableSMTP-TLS", "1"):
        wire.send("454 TLS not available")
    else:
        wire.stage("ready")
        wire.send("220 Ready to start TLS")
        wire.start_tls()


def pop3(wire: Wire) -> None:
    """One POP3 session, to its end."""
    domain = setting(wire.mailroot, "POP3Domain", "localhost")
    _greet(wire, f"+OK {_stamp(domain)} [{VERSION} POP3 Server] service ready; {_date()}")
    while True:
        verb = wire.command().split(" ")[0].upper()
        if verb == "CAPA":
            enabled = flag(wire.mailroot, "EnablePOP3-TLS", "1") and not wire.tls
            stls = ["STLS"] if enabled else []
            wire.send("+OK Capability list follows", "TOP", "USER", "UIDL", "PIPELINING", *stls,
                      f"IMPLEMENTATION [{VERSION} POP3 Server]", ".")  # fmt: skip
        elif verb == "STLS":
            _pop3_stls(wire)
        elif verb == "USER":
            wire.send("+OK Password required")
        elif verb == "PASS":
            wire.send("-ERR Invalid auth or access denied")
        elif verb == "QUIT":
            wire.stage("quit")
            wire.send(f"+OK [{VERSION} POP3 Server] closing session")
            return
        else:
            wire.send("-ERR Invalid command")


def _pop3_stls(wire: Wire) -> None:
    if wire.tls:
        wire.send("-ERR Command not permitted when TLS active")
    elif not flag(wire.mailroot, "EnablePOP3-TLS", "1"):
        wire.send("-ERR Command disabled")
    else:
        wire.stage("ready")
        wire.send("+OK Begin TLS negotiation")
        wire.start_tls()


def ctrl(wire: Wire) -> None:
    """One CTRL session, to its end."""
    if wire.faults.ctrl_refusal:
        wire.send(wire.faults.ctrl_refusal)
        return
    stamp = _stamp("127.0.0.1")
    _greet(wire, f"+00000 {stamp} {VERSION} CTRL Server; {_date()}")
    login = wire.line(MAX_LOGIN)
    if login == "#!TLS":
        wire.seen.commands.append((wire.service, login))
        if not _ctrl_starttls(wire):
            return
        login = wire.line(MAX_LOGIN)
    wire.stage("login")
    if not login.isascii():
        return
    if not _logged_in(wire, login, stamp):
        wire.send("-00105 Bad controller login")
        return
    wire.send("+00000 OK")
    while (line := wire.command()).isascii():
        words = _fields(line)
        verb = words[0].lower() if words else ""
        if verb == "quit" and len(words) == 1:
            wire.stage("quit")
            wire.send("+00000 OK")
            return
        run, arguments = _COMMANDS.get(verb, (_bad_command, -1))
        (run if len(words) - 1 == arguments else _bad_command)(wire, words[1:])


def _ctrl_starttls(wire: Wire) -> bool:
    """Whether the session goes on."""
    if wire.tls:
        wire.send("-00242 TLS link already active")
        return False
    if not flag(wire.mailroot, "EnableCTRL-TLS", "1"):
        wire.send("-00249 TLS service disabled")
        return False
    wire.stage("ready")
    wire.send("+00000 Ready to start TLS mode")
    wire.start_tls()
    return True


def _logged_in(wire: Wire, line: str, stamp: str) -> bool:
    words = _fields(line)
    user, answer = words if len(words) == 2 else ("", "")
    password = accounts(wire.mailroot).get(user.lower())
    challenge = hashlib.md5(f"{stamp}{password}".encode(), usedforsecurity=False).hexdigest()
    expected = f"#{challenge}" if answer.startswith("#") else password
    faults, seen = wire.faults, wire.seen
    with seen.lock:
        good = password is not None and answer == expected and faults.logins_left != 0
        if good and faults.logins_left is not None:
            faults.logins_left -= 1
        seen.logins += good
        seen.failed_logins += not good
        seen.clear_logins += not wire.tls
        seen.clear_passwords += not wire.tls and not answer.startswith("#")
    return good


def _noop(wire: Wire, words: list[str]) -> None:
    wire.send("+00000 OK")


def _bad_command(wire: Wire, words: list[str]) -> None:
    wire.send("-00103 Bad CTRL command syntax")


def _cfgfileget(wire: Wire, words: list[str]) -> None:
    if (path := _inside(wire, words[0])) is None:
        return
    try:
        data = b"" if path.is_dir() else path.read_bytes()
    except OSError:
        wire.send("-00019 Unable to open file")
        return
    if wire.faults.no_copies:
        wire.send(NOT_CREATED)
        return
    if wire.faults.full_disk:  # the copy that is sent is empty
        data = b""
    wire.note_key(data)
    lines = [line for raw in _LINE.findall(data) for line in _gets(raw)]
    wire.send("+00100 OK", *(f".{line}" if line.startswith(".") else line for line in lines), ".")


def _gets(raw: bytes) -> list[str]:
    """A line as XMail reads it from a file: in pieces if it is long, each up to a NUL."""
    pieces = [raw[at : at + MAX_DATA] for at in range(0, len(raw), MAX_DATA)]
    return [piece.rstrip(b"\r\n").split(b"\0")[0].decode("latin-1") for piece in pieces]


def _cfgfileset(wire: Wire, words: list[str]) -> None:
    if (path := _inside(wire, words[0])) is None:
        return
    wire.stage("upload")
    wire.send("+00101 OK")
    lines: list[str] = []
    try:
        while (line := wire.line(MAX_DATA)) != ".":
            lines.append(line.removeprefix(".").split("\0")[0])
    except TooLong:
        pass  # that is an end of the data, too, and the rest of it is taken for commands
    except Gone:
        # XMail takes a broken connection for the end of the data, and stores what it has.
        _store(wire, path, words[0], lines)
        raise
    answer = _store(wire, path, words[0], lines)
    wire.stage("stored")
    wire.send(answer)


def _store(wire: Wire, path: Path, name: str, lines: list[str]) -> str:
    """What XMail answers once it has stored the lines, or has not."""
    data = "".join(f"{line}\n" for line in lines).encode("latin-1")
    wire.seen.uploads.append((name, data))
    wire.note_key(data)
    if wire.faults.read_only:
        return NOT_CREATED
    if wire.faults.mangle is not None:
        data = wire.faults.mangle(name, data)
    if not data or wire.faults.full_disk:  # a full disk: the file is gone, and the answer is OK
        with contextlib.suppress(OSError):
            path.unlink()
        return "+00000 OK"
    if wire.faults.scant_disk and not name.endswith("scratch"):
        path.unlink(missing_ok=True)
        return "-00021 Unable to write file"
    new = not path.exists()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    except OSError:
        return NOT_CREATED
    with os.fdopen(descriptor, "wb") as file:
        if new:
            os.fchmod(descriptor, 0o666)  # the daemon's umask is 0
        file.write(data)
    return "+00000 OK"


def _filelist(wire: Wire, words: list[str]) -> None:
    if (path := _inside(wire, words[0])) is None:
        return
    if not path.is_dir():
        wire.send("-00211 Listing directory not found")
        return
    files = [file for file in path.iterdir() if file.is_file()]
    found = [file for file in files if fnmatch.fnmatchcase(file.name, words[1])]
    wire.send("+00100 OK", *(f'"{file.name}"\t"{file.stat().st_size}"' for file in found), ".")


_COMMANDS: dict[str, tuple[Callable[[Wire, list[str]], None], int]] = {
    "noop": (_noop, 0),
    "cfgfileget": (_cfgfileget, 1),
    "cfgfileset": (_cfgfileset, 1),
    "filelist": (_filelist, 2),
}


def _inside(wire: Wire, relative: str) -> Path | None:
    """The path below MailRoot; refuses `..` to the client and gives None."""
    if ".." in relative:
        wire.send("-00214 Error in relative path syntax")
        return None
    return wire.mailroot / relative.lstrip("/")


def _fields(line: str) -> list[str]:
    """The words of a command; quotes around them may be missing."""
    return [_FIELD.sub(r"\1", word) for word in line.split("\t")]


def _greet(wire: Wire, text: str) -> None:
    wire.stage("greeting")
    if wire.faults.greeting_delay_s:
        time.sleep(wire.faults.greeting_delay_s)
    wire.send(text if wire.faults.greeting is None else wire.faults.greeting)


def _stamp(where: str) -> str:
    """The time stamp that CTRL's (and APOP's) MD5 answers are made from."""
    return f"<{time.time():.6f}{threading.get_ident()}@{where}>"


def _date() -> str:
    return formatdate(localtime=False)
