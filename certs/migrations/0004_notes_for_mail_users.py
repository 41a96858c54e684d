from django.db import migrations, models
from django.db.models import Q


def let_be_read(apps, schema_editor):
    """What came with the portal or was measured by it; not what a person wrote."""
    shipped, by_the_lab = ~Q(key__startswith="own-"), Q(source_detail__startswith="client_lab, ")
    apps.get_model("certs", "ClientNote").objects.filter(
        shipped | by_the_lab, source="measured", edited_at=None
    ).update(for_mail_users=True)


class Migration(migrations.Migration):

    dependencies = [
        ("certs", "0003_note_changes"),
    ]

    operations = [
        migrations.AddField(
            model_name="clientnote",
            name="for_mail_users",
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(let_be_read, migrations.RunPython.noop),
    ]
