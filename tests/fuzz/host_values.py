"""The values of a good form of a host."""

from __future__ import annotations

from typing import Any

from tests.factories import ENDPOINTS_OFF

FORM: dict[str, Any] = {
    "name": "mail1", "transport": "sftp", "os": "unix", "address": "192.0.2.7", "port": "22",
    "user": "xmail", "mailroot": "/var/MailRoot", "trust_fingerprint": "ab" * 32, "jump": "",
    "memo": "", "password": "", "private_key": "", "passphrase": "", "confirmed": "",
    **ENDPOINTS_OFF,
}  # fmt: skip
