"""The seal on the end of the audit. An audit that is there is sealed as it is."""

import hmac
import secrets

from django.db import migrations, models

from xmailadmin import home, vault


def seal(apps, schema_editor):
    """Only here, and never at a later start: that would seal what was forged meanwhile."""
    AuditHead = apps.get_model("xmailadmin", "AuditHead")
    for head in AuditHead.objects.exclude(number=0):
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
