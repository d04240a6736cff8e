from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("gateway", "0014_content_left_out")]

    operations = [
        migrations.CreateModel(
            name="WebProcess",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("beat", models.BigIntegerField(default=1)),
                ("seen", models.BigIntegerField(default=0)),
                ("missed", models.PositiveSmallIntegerField(default=0)),
                ("looked_at", models.DateTimeField(null=True)),
                ("dead_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name_plural": "web processes",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(seen__lte=models.F("beat")), name="seen_was_a_beat"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SweeperState",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(
                        default=1, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("swept_at", models.DateTimeField()),
                ("oldest_transaction_s", models.FloatField(default=0)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(id=1), name="one_sweeper_state")
                ],
            },
        ),
    ]
