from django.db import migrations, models
from django.db.models import Count


def count(apps, schema_editor):
    """Count the holds that are open now: only accounts with running requests have any."""
    Account, Hold = apps.get_model("billing", "CreditAccount"), apps.get_model("billing", "Hold")
    numbers = Hold.objects.order_by().values("account").annotate(number=Count("pk"))
    for row in numbers.iterator():
        Account.objects.filter(pk=row["account"]).update(open_holds=row["number"])


class Migration(migrations.Migration):
    """Must run while no web process serves: an older one wouldn't count its holds."""

    dependencies = [("billing", "0008_signup_gift_places")]

    operations = [
        migrations.AddField(
            model_name="creditaccount",
            name="open_holds",
            field=models.IntegerField(default=0, editable=False),
        ),
        migrations.RunPython(count, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="creditaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(open_holds__gte=0), name="open_holds_are_not_negative"
            ),
        ),
    ]
