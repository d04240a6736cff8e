import getpass
import sys

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from accounts.addresses import mark_verified
from accounts.models import User
from billing.accounts import open_account


class Command(BaseCommand):
    help = "Make an administrator, of a new or an existing account."

    def add_arguments(self, parser):
        parser.add_argument("email")
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="Read the password from the first line of stdin.",
        )

    def handle(self, *, email, password_stdin=False, **options):
        email = email.strip().lower()
        try:
            validate_email(email)
            user = User.objects.filter(email=email).first() or User(email=email)
            password = _password(password_stdin)
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        if user.state != User.State.ACTIVE:
            raise CommandError(f"The account of {email} is {user.state}.")
        self._make(user, password)

    def _make(self, user: User, password: str) -> None:
        existed = User.objects.filter(pk=user.pk).exists()
        if existed:
            user.set_password(password)
            user.is_staff = user.is_superuser = True
            user.save(update_fields=["password", "is_staff", "is_superuser"])
        else:
            user = User.objects.create_superuser(user.email, password)
        mark_verified(user)
        open_account(user)
        self.stdout.write(f"{user.email} is {'now ' if existed else ''}an administrator.")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Once more: "):
        raise CommandError("The two passwords differ.")
    return password
