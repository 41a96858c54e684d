"""Planted secrets, every way in which they could turn up again, and the search for them."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

SHORTEST = 10  # bytes: what is shorter could turn up by chance


def spellings(secret: bytes) -> set[bytes]:
    """Returns the ways in which text is commonly written into logs, rows, messages and pages."""
    text = secret.decode()
    found = {
        secret,
        text[::-1].encode(),
        text.encode("utf-16-le"),
        secret.hex().encode(),
        secret.hex().upper().encode(),
        secret.hex(":").encode(),
        quote(text, safe="").encode(),
        quote_plus(text).encode(),
        html.escape(text).encode(),
        json.dumps(text)[1:-1].encode(),
        json.dumps(json.dumps(text))[3:-3].encode(),
        repr(text)[1:-1].encode(),
        repr(text)[1:-1].replace("\\", "\\\\").encode(),
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):  # wherever in something longer it begins
            encoded = encode(b"x" * shift + secret).rstrip(b"=")
            found.add(encoded[4 if shift else 0 : -2])
    return {spelling for spelling in found if len(spelling) >= SHORTEST}


def fragments(pem: str, passphrase: str = "") -> Iterator[bytes]:
    """Yields what only somebody knows who has (part of) this private key."""
    lines = [line for line in pem.splitlines() if line and not line.startswith("-----")]
    # The first quarter says what kind of key it is, and holds the modulus, which is public.
    private = lines[len(lines) // 4 + 1 :]
    yield from (line.encode() for line in private if len(line) >= SHORTEST)
    if "OPENSSH" in pem:
        return
    key = load_pem_private_key(pem.encode(), passphrase.encode() or None)
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        for number in (numbers.d, numbers.p, numbers.q):
            yield f"{number:x}"[8:72].encode()
            yield str(number)[8:72].encode()


@dataclass
class Needles:
    """Everything that must not be found, by its name."""

    spelled: dict[bytes, str] = field(default_factory=dict)

    def plant(self, name: str, *secrets: str | bytes) -> None:
        """Adds a secret to what is looked for."""
        for secret in secrets:
            data = secret.encode() if isinstance(secret, str) else secret
            assert len(data) >= SHORTEST, name
            for spelling in spellings(data):
                self.spelled[spelling] = name

    def plant_key(self, name: str, pem: str, passphrase: str = "") -> None:
        """Adds a private key: each of its lines, and its numbers."""
        self.plant(name, *fragments(pem, passphrase))

    def found_in(self, data: bytes, *, but: Iterable[str] = ()) -> set[str]:
        """Returns the names of the secrets that are in `data`, other than those allowed there."""
        return {
            name for spelling, name in list(self.spelled.items())
            if name not in but and spelling in data
        }  # fmt: skip
