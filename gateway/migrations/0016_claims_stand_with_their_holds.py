from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):
    """A claim that wasn't answered stands as long as the hold of its request: no deadline."""

    dependencies = [("billing", "0010_process_of_hold"), ("gateway", "0015_web_processes")]

    operations = [
        # Undone, the column starts with a deadline that has passed.
        migrations.AlterField(
            model_name="idempotentrequest",
            name="deadline",
            field=models.DateTimeField(default=timezone.now),
        ),
        migrations.RemoveField(model_name="idempotentrequest", name="deadline"),
    ]
