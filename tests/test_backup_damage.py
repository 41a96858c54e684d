"""A damaged backup is refused in a sentence, before anything is written."""

from __future__ import annotations

import functools
import io
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.portal import Portal
from tests.tally import sample
from tests.test_backup import PASSPHRASE, left, refusal
from xmailadmin import backup, sealed_file

HEAD_SECRETS: dict[str, Any] = {"secret_key": "s" * 50, "master_keys": "A" * 43 + "="}
HEAD: dict[str, Any] = {"secrets": HEAD_SECRETS, "counts": {}, "schema": []}


def sealed(*frames: bytes) -> bytes:
    file = io.BytesIO()
    sealed_file.seal_frames(frames, file, PASSPHRASE)
    return file.getvalue()


@pytest.fixture(scope="module")
def whole() -> bytes:
    return sealed(json.dumps(HEAD).encode(), b"a" * sealed_file.FRAME, b"b" * 20_000)


def test_cut_off_changed_or_longer(monkeypatch: pytest.MonkeyPatch, whole: bytes) -> None:
    """In this process: the key is derived once, which is what takes the time."""
    derive = functools.cache(sealed_file._key)
    monkeypatch.setattr(sealed_file, "_key", derive)
    chosen = random.Random(825)  # noqa: S311

    def opens(data: bytes) -> bool:
        try:
            for _ in sealed_file.open_frames(io.BytesIO(data), PASSPHRASE):
                pass
        except sealed_file.SealedFileError:
            return False
        return True

    assert opens(whole)
    for length in [0, 5, 12, 20, 28, 30, 32, *chosen.sample(range(len(whole)), 40)]:
        assert not opens(whole[:length]), length
    # Bits of the salt lead to another key, which takes its time: a few of them do.
    bits = chosen.sample(range(28 * 8, len(whole) * 8), sample(200, 40))
    for position in [0, 100, 12 * 8, 27 * 8, *bits]:
        altered = bytearray(whole)
        altered[position // 8] ^= 1 << position % 8
        assert not opens(bytes(altered)), position
    assert not opens(whole + b"x")
    frames = frames_of(whole)
    assert len(frames) >= 3
    assert not opens(joined(whole, [frames[1], frames[0], *frames[2:]])), "another order"
    assert not opens(joined(whole, [*frames[:-2], frames[-1]])), "one left out"
    assert not opens(joined(whole, [frames[0], *frames])), "one twice"
    assert not opens(joined(whole, frames[:-1])), "the end cut off where a frame ends"


def test_a_damaged_file_leaves_nothing(whole: bytes, tmp_path: Path) -> None:
    flipped = whole[:-5000] + bytes([whole[-5000] ^ 1]) + whole[-4999:]
    cases = {
        "cut": (whole[:-1000], "cut off"),
        "flipped": (flipped, "damaged"),
        "other": (b"PK\x03\x04 another file", "not a backup"),
        "crafted": (sealed(b"{}"), "damaged: it opens, but holds no portal"),
    }
    for name, (data, why) in cases.items():
        (tmp_path / name).write_bytes(data)
        empty = Portal(tmp_path / f"home-{name}", {"XMAILADMIN_BACKUP_PASSPHRASE": PASSPHRASE})
        assert why in refusal(empty, "restore", str(tmp_path / name))
        assert left(empty.home) == []


CRAFTED = {
    "nothing": [],
    "no JSON": [b"{"],
    "no text": [b"\xff\xfe"],
    "deep": [b"[" * 5000],
    "a list": [b"[]"],
    "a number": [b"7"],
    "no secrets": [json.dumps(HEAD | {"secrets": {}}).encode()],
    "no keys": [json.dumps(HEAD | {"secrets": HEAD_SECRETS | {"master_keys": 7}}).encode()],
    "another key": [json.dumps(HEAD | {"secrets": HEAD_SECRETS | {"master_keys": "A"}}).encode()],
    "no schema": [json.dumps({"secrets": HEAD_SECRETS, "counts": {}}).encode()],
    "other letters": [json.dumps(HEAD).encode(), "鍵".encode()],
}


@pytest.mark.parametrize("frames", CRAFTED.values(), ids=CRAFTED)
def test_what_opens_and_is_no_portal_is_refused_too(
    frames: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sealed_file, "_key", lambda *_: bytes(32))  # which takes the time
    (tmp_path / "crafted").write_bytes(sealed(*frames))
    with (tmp_path / "rows").open("w", encoding="ascii") as rows:
        with pytest.raises(backup.BackupError, match="is damaged: it opens, but holds no portal"):
            backup._read(tmp_path / "crafted", PASSPHRASE, rows)
        (tmp_path / "crafted").write_bytes(sealed(json.dumps(HEAD).encode(), b"rows"))
        assert backup._read(tmp_path / "crafted", PASSPHRASE, rows) == HEAD


def test_a_passphrase_that_is_no_text(tmp_path: Path) -> None:
    told = {"XMAILADMIN_BACKUP_PASSPHRASE": os.fsdecode(b"\xff battery staple")}
    portal = Portal(tmp_path / "portal", told)
    for command in ("backup", "restore"):
        assert "not UTF-8 text" in refusal(portal, command, str(tmp_path / "file"))
    assert not (tmp_path / "file").exists()


def frames_of(whole: bytes) -> list[bytes]:
    found, position = [], 28
    while position < len(whole):
        end = position + 4 + int.from_bytes(whole[position : position + 4], "big")
        found.append(whole[position:end])
        position = end
    return found


def joined(whole: bytes, frames: list[bytes]) -> bytes:
    return whole[:28] + b"".join(frames)
