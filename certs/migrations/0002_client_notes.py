"""Loads the notes about mail clients that come with the product."""

from django.db import migrations

from certs import shipped_notes


def load(apps, schema_editor):
    model = apps.get_model("certs", "ClientNote")
    for path in shipped_notes.shipped_files():
        shipped_notes.load_notes(path, model)


def unload(apps, schema_editor):
    model = apps.get_model("certs", "ClientNote")
    for path in shipped_notes.shipped_files():
        shipped_notes.unload_notes(path, model)


class Migration(migrations.Migration):
    dependencies = [("certs", "0001_initial")]
    operations = [migrations.RunPython(load, unload)]
