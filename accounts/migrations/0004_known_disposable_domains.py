"""Fills the list of disposable domains at setup. From then on the list is the operator's."""

from pathlib import Path

from django.db import migrations

LIST = Path(__file__).resolve().parents[1] / 'disposable_domains.txt'


def fill(apps, schema_editor):
    model = apps.get_model('accounts', 'DisposableDomain')
    rows = [model(domain=domain) for domain in LIST.read_text().split()]
    model.objects.using(schema_editor.connection.alias).bulk_create(
        rows, batch_size=200, ignore_conflicts=True
    )


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_disposable_domain'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
