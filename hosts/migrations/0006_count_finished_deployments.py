from django.db import migrations
from django.db.models import Count


def count(apps, schema_editor):
    Deployment = apps.get_model("hosts", "Deployment")
    Installation = apps.get_model("hosts", "Installation")
    for deployment in Deployment.objects.filter(finished_at__isnull=False).iterator():
        rows = Installation.objects.filter(deployment=deployment).order_by()
        deployment.tally = dict(rows.values_list("status").annotate(Count("pk")))
        deployment.save(update_fields=["tally"])


class Migration(migrations.Migration):

    dependencies = [
        ("hosts", "0005_tallies_and_indexes"),
    ]

    operations = [migrations.RunPython(count, migrations.RunPython.noop)]
