from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kyma import demo


class Command(BaseCommand):
    help = f"Remove the account {demo.EMAIL} and all its data."

    def handle(self, **options):
        if settings.PRODUCTION:
            raise CommandError("In production no ledger entry is ever deleted.")
        try:
            demo.remove()
        except demo.DemoError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{demo.EMAIL} and all its data are gone.")
