import pytest
from django.apps import apps
from django.core.management import call_command

from tests.support.sources import LAYERS

pytestmark = pytest.mark.usefixtures("books")


def test_every_change_of_a_model_has_its_migration(capsys):
    ours = [one.label for one in apps.get_app_configs() if one.name.split(".")[0] in LAYERS]
    try:
        call_command("makemigrations", *ours, check=True, dry_run=True)
    except SystemExit:
        pytest.fail(capsys.readouterr().out)
