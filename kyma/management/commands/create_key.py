from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from accounts import keys
from accounts.models import User
from billing import signup
from billing.accounts import open_account
from gateway.models import Model


class Command(BaseCommand):
    help = "Make an API key and print it, once. A new person gets the sign-up credit."

    def add_arguments(self, parser):
        parser.add_argument("--email", required=True)
        parser.add_argument("--name", default="command line", help="What to call the key.")
        parser.add_argument(
            "--management", action="store_true", help="Make a key for /v1/keys only."
        )
        parser.add_argument(
            "--allowed-model",
            action="append",
            default=[],
            metavar="SLUG",
            help="Allow only this model; can be repeated. Without it, all models are allowed.",
        )

    def handle(self, *, email, name, management=False, allowed_model=(), **options):
        _check_models(allowed_model)
        user = self._find_or_make(email.strip().lower())
        if not user.is_active or user.state != User.State.ACTIVE:
            raise CommandError(f"The account of {user.email} is {user.state}: it gets no key.")
        _, text = keys.issue(
            user, name=name, is_management=management, allowed_models=list(allowed_model)
        )
        self.stderr.write(f"A key for {user.email}. It can't be shown again:")
        self.stdout.write(text)

    def _find_or_make(self, email: str) -> User:
        user = User.objects.filter(email=email).first() or self._make(email)
        open_account(user)
        return user

    def _make(self, email: str) -> User:
        try:
            validate_email(email)
        except ValidationError as error:
            raise CommandError(f"{email} is no e-mail address.") from error
        user = User.objects.create_user(email)
        signup.grant(user, email)
        return user


def _check_models(slugs) -> None:
    unknown = set(slugs) - set(Model.objects.values_list("slug", flat=True))
    if unknown:
        raise CommandError(f"There is no model {', '.join(sorted(unknown))} in the catalogue.")
