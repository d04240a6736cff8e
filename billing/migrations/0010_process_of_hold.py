from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("billing", "0009_open_holds")]

    operations = [
        migrations.AddField(
            model_name="hold",
            name="process_id",
            field=models.UUIDField(null=True),
        ),
    ]
