import sys
import uuid

from django.core.management.base import BaseCommand, CommandError

from billing.models import CreditAccount
from gateway.commits import reconcile


class Command(BaseCommand):
    help = "Check that balances, holds, entries and requests agree. Exit code 1 if they don't."

    def add_arguments(self, parser):
        parser.add_argument("--account", type=uuid.UUID, metavar="UUID", help="check only this one")

    def handle(self, *, account, **options):
        accounts = CreditAccount.objects.count()
        if account is not None:
            accounts = CreditAccount.objects.filter(pk=account).count()
            if not accounts:
                raise CommandError(f"there is no account {account}")
        found = 0
        for found, difference in enumerate(reconcile.differences(account), start=1):  # noqa: B007
            self.stdout.write(str(difference))
        self.stdout.write(f"accounts: {accounts}, differences: {found}")
        if found:
            sys.exit(1)
