from datetime import UTC, datetime

from django.db import migrations

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)


def put_within(apps, schema_editor):
    """As new records are made: pages could not show these in every time zone."""
    pairs = apps.get_model("certs", "Pair").objects
    pairs.filter(not_after__gt=LATEST).update(not_after=LATEST)
    pairs.filter(not_before__lt=EARLIEST).update(not_before=EARLIEST)


class Migration(migrations.Migration):

    dependencies = [
        ("certs", "0004_notes_for_mail_users"),
    ]

    operations = [
        migrations.RunPython(put_within, migrations.RunPython.noop),
    ]
