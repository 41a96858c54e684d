"""The seal on the end of the audit. An audit that is there is sealed as it is.

Whoever can write to the database can make this run again, after an entry of their own: so what
the data directory notes must be that end, and must not say that it was sealed before.
"""

import hmac
import logging
import secrets

from django.db import migrations, models

from xmailadmin import audit_note, home, vault

logger = logging.getLogger(__name__)


def seal(apps, schema_editor):
    """Only here, and never at a later start: that would seal what was forged meanwhile."""
    AuditHead = apps.get_model("xmailadmin", "AuditHead")
    noted = audit_note.noted()
    for head in AuditHead.objects.exclude(number=0):
        if audit_note.was_sealed() or (noted and noted != (head.number, head.sha256)):
            logger.error(
                "The end of the audit gets no seal, for it is not the one that the data directory "
                "remembers, or had one before: run verify_audit, and see docs/security.md"
            )
            continue
        key = secrets.token_bytes(32)
        end = f"{head.number}.{head.sha256}"
        mac = hmac.digest(key, f"xmailadmin audit {end}".encode(), "sha256").hex()
        try:
            head.key_sealed = vault.seal(key, vault.place(head, "key_sealed"))
        except vault.VaultError as error:
            raise home.HomeError(str(error)) from None
        head.seal = f"{end}.{mac}"
        head.save()


class Migration(migrations.Migration):

    dependencies = [
        ("xmailadmin", "0002_people_and_audit_chain"),
    ]

    operations = [
        migrations.AddField(
            model_name="audithead",
            name="key_sealed",
            field=models.TextField(blank=True, default="", editable=False),
        ),
        migrations.AddField(
            model_name="audithead",
            name="seal",
            field=models.CharField(blank=True, default="", editable=False, max_length=160),
        ),
        migrations.RunPython(seal, migrations.RunPython.noop),
    ]
