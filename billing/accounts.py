"""Opening credit accounts."""

from django.conf import settings

from accounts.models import User
from billing import ledger
from billing.models import CreditAccount, LedgerEntry


def open_account(user: User) -> CreditAccount:
    """Return the credit account of `user`, made if there is none. Safe to repeat."""
    return CreditAccount.objects.get_or_create(user=user)[0]


def give_signup_credit(user: User) -> LedgerEntry:
    """Credit the sign-up gift. Each person gets it once, however often this is called."""
    account = open_account(user)
    return ledger.credit(
        account.id,
        kind=LedgerEntry.Kind.SIGNUP,
        amount_nano=settings.SIGNUP_CREDIT_NANO,
        idempotency_key=f"signup:{user.id}",
    )
