from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kyma.demo import making


class Command(BaseCommand):
    help = f"Remove the account {making.EMAIL} and all its data."

    def handle(self, **options):
        if settings.PRODUCTION:
            raise CommandError("In production no ledger entry is ever deleted.")
        try:
            making.remove()
        except making.DemoError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{making.EMAIL} and all its data are gone.")
