from django.db import migrations


def take_away_limits(apps, schema_editor):
    """Take from `support` the right to change keys. It disables and revokes them from now on."""
    for group in apps.get_model("auth", "Group").objects.filter(name="support"):
        group.permissions.remove(
            *group.permissions.filter(codename="change_apikey", content_type__app_label="accounts")
        )


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_disable_permission'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
    ]

    operations = [
        migrations.RunPython(take_away_limits, migrations.RunPython.noop),
    ]
