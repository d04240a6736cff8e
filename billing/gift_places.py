"""The few gifts for signing up that one network, or one mail domain on one day, can get.

Without a bound, one person with a catch-all domain gets as many gifts as there are addresses. The
address that counts is the one from which the code was entered, because the gift is given there and
then. Mail domains that millions of people share have no bound of their own: the network has one,
and the mailbox (billing/signup.py).

A place is a row with a keyed hash of the network or domain, without account. The unique constraint
decides between requests that arrive at the same moment. It is deleted when it no longer counts,
after at most 90 days.
"""

import datetime as dt
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.utils import timezone

from accounts.addresses import WIDELY_KNOWN
from billing.keyed_hashes import digests
from billing.models import CreditAccount, GiftPlace

NETWORK_DAYS = 89  # The purge may come a day later, and nothing stays for longer than 90.
PREFIXES = {4: 24, 6: 48}  # A customer of a provider commonly has this much, or less.
# Below a country's code, the label before these names the owner: kyma.co.uk, but kyma.de.
_SHARED_LABELS = {"ac", "co", "com", "edu", "go", "gob", "gov", "ltd", "ne", "net", "or", "org"}


def refusal(network_address: str, mail_domain: str) -> CreditAccount.NoGift | None:
    """Take a place for this network and one for this domain, inside the caller's transaction.

    Return the reason when there is none left; the caller then rolls back.
    """
    today = timezone.now().date()
    network = f"network:{_network(network_address)}"
    last_day = today + dt.timedelta(days=NETWORK_DAYS - 1)
    if not _take(network, most=settings.SIGNUP_GIFTS_PER_NETWORK, last_day=last_day):
        return CreditAccount.NoGift.NETWORK
    if mail_domain in WIDELY_KNOWN:
        return None
    domain = f"domain:{_owned(mail_domain)}:{today}"
    if not _take(domain, most=settings.SIGNUP_GIFTS_PER_DOMAIN_A_DAY, last_day=today):
        return CreditAccount.NoGift.DOMAIN
    return None


def purge() -> int:
    """Delete the places that no longer count. Returns their number."""
    return GiftPlace.objects.filter(last_day__lt=timezone.now().date()).delete()[0]


def _take(text: str, *, most: int, last_day: dt.date) -> bool:
    """Take one of `most` places. False if all are taken."""
    hashes = digests(text)
    places = GiftPlace.objects.filter(digest__in=hashes)
    places.filter(last_day__lt=timezone.now().date()).delete()
    taken = list(places.values_list("number", flat=True))
    if len(taken) >= most:
        return False
    for number in sorted({*range(1, most + 1)} - {*taken}):
        _, is_new = GiftPlace.objects.get_or_create(
            digest=hashes[0], number=number, defaults={"last_day": last_day}
        )
        if is_new:
            return True
    return False  # Others took them at this very moment.


def _network(address: str) -> str:
    """Return the network of an address, or the text itself if it isn't an address."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    found = (found.version == 6 and found.ipv4_mapped) or found
    return str(ip_network((found, PREFIXES[found.version]), strict=False))


def _owned(domain: str) -> str:
    """Return the domain that somebody registered: its owner can make any number below it."""
    labels = domain.split(".")
    is_shared = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SHARED_LABELS
    return ".".join(labels[-3:] if is_shared else labels[-2:])
