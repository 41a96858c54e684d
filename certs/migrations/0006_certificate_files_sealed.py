"""Certificate files that hold anything beside certificates: that may be a private key."""

from django.db import migrations, models

from certs.certificate_file import public_part
from xmailadmin import home, vault

FIELD = "certificate_sealed"


def seal(apps, schema_editor):
    """Those that were found on hosts are kept as they are, but sealed; certificates stay."""
    pairs = apps.get_model("certs", "Pair").objects
    found = pairs.filter(origin="ADOPTED").exclude(certificate=None)
    for pair in found.only("pk", "certificate").iterator(chunk_size=50):
        whole = bytes(pair.certificate)
        public = public_part(whole)
        if public == whole:
            continue
        try:
            sealed = vault.seal(whole, vault.place(pair, FIELD))
        except vault.VaultError as error:
            raise home.HomeError(str(error)) from None
        pairs.filter(pk=pair.pk).update(certificate=public, certificate_sealed=sealed)


def put_back(apps, schema_editor):
    """The version before has no other place for what a roll back shall put back."""
    pairs = apps.get_model("certs", "Pair").objects
    for pair in pairs.exclude(certificate_sealed="").only("pk", FIELD).iterator(chunk_size=50):
        whole = vault.open_sealed(pair.certificate_sealed, vault.place(pair, FIELD))
        pairs.filter(pk=pair.pk).update(certificate=whole)


class Migration(migrations.Migration):

    dependencies = [
        ("certs", "0005_dates_of_every_time_zone"),
    ]

    operations = [
        migrations.AddField(
            model_name="pair",
            name="certificate_sealed",
            field=models.TextField(blank=True, default="", editable=False),
        ),
        migrations.RunPython(seal, put_back),
    ]
