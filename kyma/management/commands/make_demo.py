from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kyma import schema
from kyma.demo import making


class Command(BaseCommand):
    help = (
        f"Make a second account, {making.EMAIL}, with {making.DAYS} days of usage to look at; "
        "an older demo is replaced."
    )

    def handle(self, **options):
        if settings.PRODUCTION:
            raise CommandError("The demo is for trying Kyma on one machine, not for production.")
        if any(schema.unapplied(alias) for alias in settings.DATABASES):
            raise CommandError("The tables aren't all there. Start Kyma once first: make run")
        try:
            made = making.make()
        except making.DemoError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{made.requests:,} requests and {made.conversations} conversations in {making.DAYS} "
            f"days.\nSign in as {making.EMAIL} with the password {made.password}\n"
            "It can't be shown again; another make demo replaces the account.\n"
            "Its requests also count on /models and /status, until manage.py remove_demo "
            "takes everything away."
        )
