"""dj-stripe's tables, straight from its models: 1 s instead of the 35 s of its migrations.

It replaces all of them, so that what depends on any of them depends on this one.
"""

import pkgutil

import djstripe.migrations
from django.apps import apps
from django.conf import settings
from django.db import migrations, router
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState


def models():
    """Every model of dj-stripe; tables of many-to-many relations come with their owner."""
    return apps.get_app_config("djstripe").get_models()


class CreateAll(Operation):
    """Creates the models as they are now, however they refer to each other."""

    reversible = False

    def state_forwards(self, app_label, state):
        for model in models():
            state.add_model(ModelState.from_model(model))

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if router.allow_migrate(schema_editor.connection.alias, app_label):
            for model in models():
                schema_editor.create_model(model)


class Migration(migrations.Migration):
    initial = True
    replaces = [
        ("djstripe", module.name) for module in pkgutil.iter_modules(djstripe.migrations.__path__)
    ]
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [CreateAll()]
