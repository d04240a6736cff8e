"""The gift for signing up: once for each mailbox, whatever its address is written like.

Which mailboxes had it is kept as a keyed hash and nothing else: no address, no account, no date.
So it outlives an account that is erased, says nothing of anybody, and once stays once.
"""

import hashlib
import hmac

from django.conf import settings
from django.contrib import messages
from django.db import transaction

from accounts.addresses import normalised
from accounts.models import User
from billing.accounts import give_signup_credit
from billing.models import LedgerEntry, SignupGrant

HAD_IT = "The credit for signing up is given once for each mailbox, and this one had it before."


def grant(user: User, address: str) -> LedgerEntry | None:
    """Give `user` the gift for having verified `address`, unless that mailbox had it before.

    Safe to repeat and to run in parallel: the row's key decides.
    """
    digests = _digests(address)
    with transaction.atomic():
        if SignupGrant.objects.filter(digest__in=digests).exists():
            return None
        _, is_new = SignupGrant.objects.get_or_create(digest=digests[0])
        return give_signup_credit(user) if is_new and _may_have_it(user) else None


def _may_have_it(user: User) -> bool:
    """Not again for a second address; and there may be no gift at all."""
    had_it = LedgerEntry.objects.filter(account__user=user, kind=LedgerEntry.Kind.SIGNUP)
    return settings.SIGNUP_CREDIT_NANO > 0 and not had_it.exists()


def _digests(address: str) -> list[str]:
    """Under the secret key, and under those that it has replaced."""
    text = f"signup:{normalised(address)}".encode()
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [hmac.digest(key.encode(), text, hashlib.sha256).hex() for key in keys]


def on_email_confirmed(sender, request, email_address, **kwargs) -> None:
    user = email_address.user
    if grant(user, email_address.email) is None and _may_have_it(user):
        messages.info(request, HAD_IT)
