from django.db import migrations


def empty(apps, schema_editor):
    """Sessions from before sealed ones don't say where they began any longer."""
    sessions = apps.get_model("usersessions", "UserSession").objects
    sessions.using(schema_editor.connection.alias).update(ip="::", user_agent="")


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0007_apikey_scopes"),
        ("usersessions", "0001_initial"),
    ]

    operations = [migrations.RunPython(empty, migrations.RunPython.noop)]
