"""Keep each person's answers about providers, first those that were given before there was a table.

The day of such an answer isn't known, so its row has the time of this migration.
"""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import accounts.ids

CHOICES = [
    ("none", "only providers that keep nothing"),
    ("abuse_30d", "also providers that keep up to 30 days, against abuse"),
    ("stored", "any provider, also those that keep more or don't say"),
]


def record_earlier(apps, schema_editor):
    alias = schema_editor.connection.alias
    consents = apps.get_model("privacy", "ProviderConsent").objects.using(alias)
    people = apps.get_model("accounts", "User").objects.using(alias).exclude(provider_choice="")
    rows = (
        consents.model(user=one, before="", after=one.provider_choice, text_version=0)
        for one in people.only("id", "provider_choice").iterator(1000)
    )
    consents.bulk_create(rows, batch_size=1000)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ("accounts", "0013_provider_choice"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ProviderConsent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=accounts.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("before", models.CharField(blank=True, choices=CHOICES, max_length=10)),
                ("after", models.CharField(choices=CHOICES, max_length=10)),
                (
                    "text_version",
                    models.PositiveSmallIntegerField(
                        help_text="The version of the text that the person answered; 0: no text "
                        "was shown."
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("before__in", ("", "none", "abuse_30d", "stored")),
                            ("after__in", ["none", "abuse_30d", "stored"]),
                        ),
                        name="a_consent_is_between_choices",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("before", models.F("after")), _negated=True),
                        name="a_consent_is_a_change",
                    ),
                ],
            },
        ),
        migrations.RunPython(record_earlier, migrations.RunPython.noop),
    ]
