from django.db import migrations


def empty(apps, schema_editor):
    """Blank the address and browser of sessions that were stored before these were sealed."""
    sessions = apps.get_model("usersessions", "UserSession").objects
    sessions.using(schema_editor.connection.alias).update(ip="::", user_agent="")


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0007_apikey_scopes"),
        ("usersessions", "0001_initial"),
    ]

    operations = [migrations.RunPython(empty, migrations.RunPython.noop)]
