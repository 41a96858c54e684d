"""Files as XMail's CTRL takes, stores and gives them (docs/xmail.md): lines of text."""

from __future__ import annotations

import re

#: XMail takes 2,044 characters of a line. A longer one ends the data, and what follows would be
#: commands; the file ends before it, and the answer is OK. A doubled dot must have room, too.
LONGEST_LINE = 2000
#: What a full disk still takes of a file is nothing, or so many bytes at least.
SECTOR = 512

_LINE_END = re.compile(rb"\r+(?=\n|\Z)")
_CUT_OFF = re.compile(rb"\x00[^\n]*")
_FOLD = re.compile(rb"[^\n]{%d}(?=[^\n])" % LONGEST_LINE)
_SIZE = re.compile(r"[0-9]{1,18}")


def canonical(data: bytes) -> bytes:
    """A file as XMail stores it: LF ends, after the last line too, and nothing behind a NUL.

    Lines that it would not take are folded: they can only be notes around the PEM, or Base64.
    """
    lines = data
    if b"\r" in lines or b"\x00" in lines:
        lines = _LINE_END.sub(b"", _CUT_OFF.sub(b"", lines))
    if len(lines) > LONGEST_LINE:
        lines = _FOLD.sub(rb"\g<0>\n", lines)
    return lines + b"\n" if lines and not lines.endswith(b"\n") else lines


def as_lines(data: bytes) -> bytes:
    """Data as CTRL wants it: CRLF ends, a leading dot doubled, a lone dot at the end."""
    lines = b"\n" + canonical(data)
    return lines.replace(b"\n.", b"\n..")[1:].replace(b"\n", b"\r\n") + b".\r\n"


def entries(listing: bytes, most: int) -> list[tuple[str, int]]:
    """Names and sizes in the answer to `filelist`, the first `most` of them."""
    found = []
    for line in filter(None, listing.split(b"\n", most)[:most]):
        name, _, size = line.decode("utf-8", "replace").partition("\t")
        digits = size.strip('"\r')
        found.append((name.strip('"'), int(digits) if _SIZE.fullmatch(digits) else 0))
    return found


def is_short(data: bytes, size: int) -> bool:
    """Whether XMail gave less than a file of this size holds.

    It copies a file before it sends it, and does not notice that the disk is full. A CR that it
    leaves out is no loss; nor is what follows a NUL, which makes something else of a file.
    """
    most = len(data) + data.count(b"\n")
    return size > most and (not data or most >= SECTOR)
