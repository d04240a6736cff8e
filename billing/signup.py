"""The gift for signing up, given once for each mailbox, for all spellings of its address.

A mailbox that had the gift is stored as a keyed hash only, without address, account or date. So the
record can outlive an erased account, and says nothing about anybody.
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

    Safe to repeat and to run in parallel: the primary key of the row decides.
    """
    digests = _digests(address)
    with transaction.atomic():
        if SignupGrant.objects.filter(digest__in=digests).exists():
            return None
        _, is_new = SignupGrant.objects.get_or_create(digest=digests[0])
        return give_signup_credit(user) if is_new and _may_have_it(user) else None


def _may_have_it(user: User) -> bool:
    """True when there is a gift, and the user hasn't got it for another address."""
    had_it = LedgerEntry.objects.filter(account__user=user, kind=LedgerEntry.Kind.SIGNUP)
    return settings.SIGNUP_CREDIT_NANO > 0 and not had_it.exists()


def _digests(address: str) -> list[str]:
    """Return the hashes of `address` under the secret key and under the keys that it replaced."""
    text = f"signup:{normalised(address)}".encode()
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [hmac.digest(key.encode(), text, hashlib.sha256).hex() for key in keys]


def on_email_confirmed(sender, request, email_address, **kwargs) -> None:
    user = email_address.user
    if grant(user, email_address.email) is None and _may_have_it(user):
        messages.info(request, HAD_IT)
