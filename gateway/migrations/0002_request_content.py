"""The content of requests, in a table of its own: partitioned by day on Postgres.

The day lies in the id (UUIDv7), so the primary key is the partition key, and a day that is
older than the longest retention can be dropped whole.
"""

from django.db import migrations, models

from gateway.log import partitions


def create_table(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        partitions.create_table(schema_editor.connection)
        partitions.ensure(schema_editor.connection)
    else:
        schema_editor.create_model(apps.get_model("gateway", "RequestContent"))


def drop_table(apps, schema_editor):
    schema_editor.execute("DROP TABLE gateway_requestcontent")


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='RequestContent',
                    fields=[
                        ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                        ('account_id', models.UUIDField(db_index=True)),
                        ('sealed', models.BinaryField()),
                        ('purge_at', models.DateTimeField(db_index=True)),
                    ],
                ),
            ],
        ),
        migrations.RunPython(create_table, drop_table),
    ]
