"""Seals all secrets with a new master key."""

from __future__ import annotations

from typing import Any

from xmailadmin import home, rotation, vault
from xmailadmin.commands import PortalCommand


class Command(PortalCommand):
    help = (
        "Make a new master key, seal all secrets anew with it, and drop the old one. "
        "A portal may run meanwhile; run it again if it was interrupted."
    )

    def work(self, **options: Any) -> tuple[dict[str, Any], bool]:
        try:
            count = rotation.rotate()
        except (rotation.RotationError, vault.VaultError) as error:
            self.fail(str(error))
        self.say(f"Secrets sealed with the master key {vault.key_ids()[0]}: {count}.")
        if home.from_environment("XMAILADMIN_MASTER_KEYS"):
            self.say("The old keys may now be taken out of XMAILADMIN_MASTER_KEYS.")
        return {"secrets": count, "key": vault.key_ids()[0]}, False
