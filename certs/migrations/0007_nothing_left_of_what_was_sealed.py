"""What was sealed just now is still in parts of the database that are free: they are given up."""

from django.db import migrations


def vacuum(apps, schema_editor):
    connection = schema_editor.connection
    if not apps.get_model("certs", "Pair").objects.exclude(certificate_sealed="").exists():
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM FULL certs_pair")
        else:
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class Migration(migrations.Migration):

    atomic = False  # within a transaction there is no VACUUM

    dependencies = [
        ("certs", "0006_certificate_files_sealed"),
    ]

    operations = [
        migrations.RunPython(vacuum, migrations.RunPython.noop),
    ]
