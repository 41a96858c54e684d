"""A MailRoot: the names in it, the TLS settings of its server.tab, and how its path is written."""

from __future__ import annotations

import ntpath
import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hosts.messages import Message

SERVER_TAB = "server.tab"
KEY = "server.key"
CERTIFICATE = "server.cert"
CA_FILE = "certs.pem"
CA_DIRECTORY = "certs"
SSLCONF = "sslconf"
#: Normally beside server.tab.
COMPANIONS = ("ctrlaccounts.tab", "domains.tab", "mailusers.tab")
#: Names that OpenSSL looks for in a directory of CA certificates.
HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")

#: The TLS settings of server.tab and what holds where it does not name them.
DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "EnableSMTP-TLS": "1",
        "EnablePOP3-TLS": "1",
        "EnableCTRL-TLS": "1",
        "SSLWantVerify": "0",
        "SSLWantCert": "0",
        "SSLAllowSelfSigned": "0",
        "SSLMaxCertsDepth": "0",
        "SSLUseCertsFile": "0",
        "SSLUseCertsDir": "0",
        "SmtpNoTLSAuths": "",
    }
)

MOST_SERVER_TAB = 256 * 1024  # many times what the longest one holds
_GIVEN = tuple(quote + name for name in DEFAULTS for quote in ('"', ""))
MAX_PATH = 255  # XMail's own limit is 256 with the file's name
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WINDOWS_ABSOLUTE = re.compile(r"(?:[A-Za-z]:[\\/]|\\\\[^\\/]+\\[^\\/]+)")
_WINDOWS_FORBIDDEN = re.compile(r'[<>"|?*]')
_NUMBER = re.compile(r"\s*(?P<sign>[+-]?)0*(?P<digits>[0-9]{0,18})")
_LONGEST_VALUE = 200  # letters; what is longer is no setting of TLS


@dataclass(frozen=True)
class ServerTab:
    """The TLS settings that a server.tab gives; what it says about anything else is left out."""

    given: Mapping[str, str]

    def value(self, name: str) -> str:
        """A setting as XMail takes it."""
        return self.given.get(name, DEFAULTS[name])

    def number(self, name: str) -> int:
        """A setting as C's atoi reads it: the digits it begins with, else 0."""
        found = _NUMBER.match(self.value(name))
        return int(found["sign"] + found["digits"]) if found and found["digits"] else 0

    def on(self, name: str) -> bool:
        """A setting as a switch."""
        return self.number(name) != 0

    @property
    def verifies_clients(self) -> bool:
        """Whether client certificates are checked; asking for one implies it."""
        return self.on("SSLWantVerify") or self.on("SSLWantCert")

    def to_json(self) -> dict[str, str]:
        """Every TLS setting as it is in effect."""
        return {name: self.value(name) for name in DEFAULTS}


def parse_server_tab(data: bytes) -> ServerTab:
    """The TLS settings of a server.tab, with LF or CRLF; never raises.

    A line is `"Name"<TAB>"value"`; XMail tells capital letters from small ones, and of a setting
    that is given twice the first counts.
    """
    given: dict[str, str] = {}
    for line in data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n"):
        if not line.startswith(_GIVEN):
            continue
        words = [_unquoted(word) for word in line.rstrip("\r").split("\t")]
        if len(words) >= 2 and words[0] in DEFAULTS:
            given.setdefault(words[0], words[1][:_LONGEST_VALUE])
    return ServerTab(MappingProxyType(given))


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) >= 2 and word[0] == word[-1] == '"' else word


def looks_like_mailroot(names: Iterable[str]) -> bool:
    """Whether a directory that holds these names is a MailRoot."""
    return SERVER_TAB in {name.lower() for name in names}


def missing_companions(names: Iterable[str]) -> list[str]:
    """The files that a MailRoot normally holds, and this directory does not."""
    present = {name.lower() for name in names}
    return [name for name in COMPANIONS if name not in present]


def check_path(path: str, os: str) -> Message | None:
    """What is wrong with the path of a MailRoot on a "unix" or "windows" host; None if nothing.

    Only the writing is judged: nothing is looked up.
    """
    if not path.strip():
        return Message("mailroot.empty")
    if _CONTROL.search(path):
        return Message("mailroot.control_character")
    if len(path) > MAX_PATH:
        return Message("mailroot.too_long", {"limit": MAX_PATH})
    if os == "windows":
        return _check_windows(path)
    if not path.startswith("/"):
        return Message("mailroot.not_absolute_unix", {"path": path})
    return _check_parts(path, path.split("/"))


def _check_windows(path: str) -> Message | None:
    root = _WINDOWS_ABSOLUTE.match(path)
    if root is None:
        return Message("mailroot.not_absolute_windows", {"path": path})
    rest = path[root.end() :]
    if _WINDOWS_FORBIDDEN.search(path) or ":" in rest:
        return Message("mailroot.forbidden_character", {"path": path})
    return _check_parts(path, re.split(r"[\\/]", rest))


def _check_parts(path: str, parts: list[str]) -> Message | None:
    if ".." in parts:
        return Message("mailroot.parent", {"path": path})
    if not any(part not in {"", "."} for part in parts):
        return Message("mailroot.whole_disk", {"path": path})
    return None


def lies_within(real: str, bases: Iterable[str]) -> bool:
    """Whether the real path of a local MailRoot is in one of the directories, if there are any."""
    allowed = [Path(base).resolve() for base in bases]
    return not allowed or any(Path(real).is_relative_to(base) for base in allowed)


def sftp_path(path: str, os: str) -> str:
    """The path as SFTP servers take it: `C:\\MailRoot` becomes `/C:/MailRoot`."""
    if os != "windows":
        return path
    path = path.replace("\\", "/")
    return path if path.startswith("/") else f"/{path}"


def normal_path(path: str, os: str) -> str:
    """The path as it is compared: what Windows takes for `C:\\MailRoot` has many spellings."""
    if os == "windows":
        return ntpath.normcase(ntpath.normpath(path))
    return posixpath.normpath(path)


def real_path(path: str) -> str:
    """The directory that a local path leads to; what is no path on this machine stays as it is."""
    return os.path.realpath(path) if os.path.isabs(path) else path
