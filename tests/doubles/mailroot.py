"""MailRoot directories for tests: the files XMail reads, as XMail writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

USER = "admin"
PASSWORD = "controller-password"
DOMAIN = "a.test"

_OBFUSCATION = 101  # XMail's StrCrypt: every byte XOR 101, in hexadecimal


def make_mailroot(
    path: Path,
    *,
    settings: Mapping[str, str] | None = None,
    key: bytes | None = None,
    certificate: bytes | None = None,
    user: str = USER,
    password: str = PASSWORD,
    newline: str = "\n",
) -> Path:
    """A MailRoot with server.tab (and `settings` in it), accounts, domains, users and a pair."""
    path.mkdir(parents=True, exist_ok=True)
    write_settings(path, settings or {}, newline=newline)
    (path / "ctrlaccounts.tab").write_text(f'"{user}"\t"{obfuscated(password)}"\n')
    (path / "domains.tab").write_text(f'"{DOMAIN}"\n')
    (path / "mailusers.tab").write_text(
        f'"{DOMAIN}"\t"taro"\t"{obfuscated("x")}"\t1\t"taro"\t"U"\n'
    )
    write_pair(path, key, certificate)
    return path


def write_settings(path: Path, settings: Mapping[str, str], *, newline: str = "\n") -> None:
    """server.tab anew, with the comments and the lines of other settings that a real one has."""
    names = ("RootDomain", "SmtpServerDomain", "POP3Domain")
    lines = ["# [XMail settings]", *(f'"{name}"\t"{DOMAIN}"' for name in names), ""]
    lines += [f'"{name}"\t"{value}"' for name, value in settings.items()]
    (path / "server.tab").write_bytes((newline.join(lines) + newline).encode())


def write_pair(path: Path, key: bytes | None, certificate: bytes | None) -> None:
    """The installed pair; None leaves a file out (and removes one that was there)."""
    for name, data, mode in (("server.key", key, 0o600), ("server.cert", certificate, 0o644)):
        target = path / name
        if data is None:
            target.unlink(missing_ok=True)
        else:
            target.write_bytes(data)
            target.chmod(mode)


def read_table(path: Path) -> list[list[str]]:
    """The rows of one of XMail's .tab files; a missing file has none."""
    try:
        text = path.read_bytes().decode("latin-1")
    except OSError:
        return []
    lines = (line.rstrip("\r") for line in text.split("\n"))
    return [
        [value.removeprefix('"').removesuffix('"') for value in line.split("\t")]
        for line in lines
        if line and not line.startswith("#")
    ]


def setting(path: Path, name: str, default: str) -> str:
    """What server.tab says now; XMail reads it anew for every connection."""
    for row in read_table(path / "server.tab"):
        if len(row) >= 2 and row[0] == name:
            return row[1]
    return default


def flag(path: Path, name: str, default: str) -> bool:
    """A setting as a switch: any number but 0 is on, as C's atoi reads it."""
    number = re.match(r"\s*[+-]?\d+", setting(path, name, default))
    return number is not None and int(number[0]) != 0


def accounts(path: Path) -> dict[str, str]:
    """CTRL user names (XMail compares them without case) and their passwords in clear."""
    rows = read_table(path / "ctrlaccounts.tab")
    return {row[0].lower(): clear(row[1]) for row in rows if len(row) >= 2}


def obfuscated(password: str) -> str:
    """A password as XMail's account files hold it."""
    return "".join(f"{byte ^ _OBFUSCATION:02x}" for byte in password.encode())


def clear(stored: str) -> str:
    """The password behind `obfuscated`."""
    return bytes(byte ^ _OBFUSCATION for byte in bytes.fromhex(stored)).decode()
