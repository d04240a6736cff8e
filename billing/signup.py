"""The gift for signing up, given once for each mailbox, for all spellings of its address.

A mailbox that had the gift is stored as a keyed hash only, without address, account or date. So the
record can outlive an erased account, and says nothing about anybody. The networks and mail domains
of those who got it lately are bounded too (billing/gift_places.py).
"""

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.db import transaction

from accounts.addresses import domain_of, normalised
from accounts.models import User
from billing import gift_places
from billing.accounts import give_signup_credit, open_account
from billing.keyed_hashes import digests
from billing.models import CreditAccount, LedgerEntry, SignupGrant


class _Refused(Exception):
    """Undo what the refused gift has taken so far."""

    def __init__(self, reason: CreditAccount.NoGift) -> None:
        self.reason = reason


def grant(user: User, address: str, *, network_address: str | None = None) -> LedgerEntry | None:
    """Give `user` the gift for having verified `address`, or remember why there is none.

    Without a `network_address` it is the operator who gives it, beyond all bounds but the mailbox.
    Safe to repeat and to run in parallel: constraints decide.
    """
    try:
        with transaction.atomic():
            return _give(user, address, network_address)
    except _Refused as refused:
        if _may_have_it(user):
            _remember(user, refused.reason)
        return None


def _give(user: User, address: str, network_address: str | None) -> LedgerEntry | None:
    hashes = digests(f"signup:{normalised(address)}")
    if SignupGrant.objects.filter(digest__in=hashes).exists():
        raise _Refused(CreditAccount.NoGift.MAILBOX)
    may_have_it = _may_have_it(user)
    if may_have_it and network_address is not None:
        _take_places(network_address, address)
    _, is_new = SignupGrant.objects.get_or_create(digest=hashes[0])
    if not is_new:
        raise _Refused(CreditAccount.NoGift.MAILBOX)
    if not may_have_it:
        return None
    _remember(user, CreditAccount.NoGift.NONE)
    return give_signup_credit(user)


def _take_places(network_address: str, address: str) -> None:
    if reason := gift_places.refusal(network_address, domain_of(address)):
        raise _Refused(reason)


def _may_have_it(user: User) -> bool:
    """True when there is a gift, and the user hasn't got it for another address."""
    had_it = LedgerEntry.objects.filter(account__user=user, kind=LedgerEntry.Kind.SIGNUP)
    return settings.SIGNUP_CREDIT_NANO > 0 and not had_it.exists()


def _remember(user: User, reason: CreditAccount.NoGift) -> None:
    """Keep the reason, which the pages explain."""
    account = open_account(user)
    CreditAccount.objects.filter(pk=account.pk).exclude(no_gift=reason).update(no_gift=reason)


def on_email_confirmed(sender, request, email_address, **kwargs) -> None:
    here = get_adapter().get_client_ip(request)
    grant(email_address.user, email_address.email, network_address=here)
