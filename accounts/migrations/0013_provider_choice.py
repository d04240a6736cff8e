"""Ask which providers a person's requests may go to, in place of one box.

The column of the box stays, unused, so that processes of the version before run on during the
upgrade. A later migration removes it.
"""

from django.db import migrations, models


def take_over(apps, schema_editor):
    """Keep what people allowed: a provider that doesn't say what it keeps may store everything."""
    users = apps.get_model("accounts", "User").objects.using(schema_editor.connection.alias)
    users.filter(allows_unstated_retention=True).update(provider_choice="stored")


def give_back(apps, schema_editor):
    users = apps.get_model("accounts", "User").objects.using(schema_editor.connection.alias)
    users.update(allows_unstated_retention=models.Case(
        models.When(provider_choice="stored", then=models.Value(True)), default=models.Value(False)
    ))


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0012_support_disables_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="provider_choice",
            field=models.CharField(
                blank=True,
                choices=[
                    ("none", "only providers that keep nothing"),
                    ("abuse_30d", "also providers that keep up to 30 days, against abuse"),
                    ("stored", "any provider, also those that keep more or don't say"),
                ],
                db_default="",
                default="",
                help_text="Which providers requests may go to (P7). Empty: not chosen yet, so "
                "only those that keep nothing.",
                max_length=10,
            ),
        ),
        migrations.RunPython(take_over, give_back),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("provider_choice__in", ("", "none", "abuse_30d", "stored"))
                ),
                name="provider_choice_is_a_choice",
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="allows_unstated_retention",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField(model_name="user", name="allows_unstated_retention"),
            ],
        ),
    ]
