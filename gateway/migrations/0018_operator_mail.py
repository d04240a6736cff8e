import accounts.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("gateway", "0016_claims_stand_with_their_holds"),
    ]

    operations = [
        migrations.CreateModel(
            name="OperatorMail",
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
                ("subject", models.CharField(max_length=40)),
                ("day", models.DateField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subject", "day"), name="one_operator_mail_a_day"
                    )
                ],
            },
        ),
    ]
