"""Sealed secrets open only where they belong, whole, and with their master key."""

from __future__ import annotations

import base64
import os
import random
import secrets
from pathlib import Path

import pytest

from certs.models import Pair
from tests.tally import Tally
from xmailadmin import vault

SECRET = b"-----BEGIN PRIVATE KEY-----\ncanary\n"


def master_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(autouse=True)
def _one_master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", master_key())


def test_a_secret_comes_back_and_is_not_in_what_is_stored() -> None:
    sealed = vault.seal(SECRET, "pair:1:key")
    assert vault.open_sealed(sealed, "pair:1:key") == SECRET
    assert b"canary" not in base64.b64decode(sealed.rpartition(".")[2])


def test_two_seals_of_one_secret_differ() -> None:
    assert vault.seal(SECRET, "pair:1:key") != vault.seal(SECRET, "pair:1:key")


@pytest.mark.parametrize("elsewhere", ["pair:2:key", "host:1:key", "pair:1:password"])
def test_a_secret_that_was_moved_does_not_open(elsewhere: str) -> None:
    sealed = vault.seal(SECRET, "pair:1:key")
    with pytest.raises(vault.VaultError):
        vault.open_sealed(sealed, elsewhere)


def test_each_of_200_flipped_bits_is_noticed(tally: Tally) -> None:
    sealed = vault.seal(SECRET, "pair:1:key")
    head, _, text = sealed.rpartition(".")
    blob = base64.b64decode(text)
    chosen = random.Random(825)  # noqa: S311  which bits are flipped is no secret
    for position in chosen.sample(range(len(blob) * 8), 200):
        altered = bytearray(blob)
        altered[position // 8] ^= 1 << position % 8
        with pytest.raises(vault.VaultError):
            vault.open_sealed(f"{head}.{base64.b64encode(altered).decode()}", "pair:1:key")
        tally.add("bits", refused=True)


@pytest.mark.parametrize("text", ["", "v1", "v1.x.y.z", "v2.a.AAAA", "v1.0.%%%", "v1.0."])
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(vault.VaultError):
        vault.open_sealed(text, "pair:1:key")


def test_the_first_key_seals_and_every_key_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = master_key(), master_key()
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", old)
    sealed = vault.seal(SECRET, "pair:1:key")
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", f"{new},{old}")
    assert vault.open_sealed(sealed, "pair:1:key") == SECRET
    assert vault.seal(SECRET, "pair:1:key").split(".")[1] == vault.key_ids()[0]
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", new)
    with pytest.raises(vault.VaultError, match="not at hand"):
        vault.open_sealed(sealed, "pair:1:key")


@pytest.mark.parametrize("keys", ["short", master_key()[:-8], "é" * 44])
def test_a_key_of_the_wrong_form_is_refused(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setenv("XMAILADMIN_MASTER_KEYS", keys)
    with pytest.raises(vault.VaultError, match="32 bytes"):
        vault.seal(SECRET, "pair:1:key")


def test_the_key_file_is_private_under_any_umask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XMAILADMIN_MASTER_KEYS")
    monkeypatch.setenv("XMAILADMIN_HOME", str(tmp_path / "home"))
    previous = os.umask(0)
    try:
        vault.create_master_key()
    finally:
        os.umask(previous)
    path = tmp_path / "home" / "master.key"
    assert path.stat().st_mode & 0o777 == 0o600
    made = path.read_bytes()
    vault.create_master_key()
    assert path.read_bytes() == made


@pytest.mark.django_db
def test_keys_of_two_rows_that_were_swapped_are_refused() -> None:
    one, two = (Pair.objects.adopt(key, None, found_on="a") for key in (b"one", b"two"))
    one.key_sealed, two.key_sealed = two.key_sealed, one.key_sealed
    for row in (one, two):
        with pytest.raises(vault.VaultError):
            row.private_key()
