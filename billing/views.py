"""The billing page: the balance, what raises the tier, and every movement of the ledger."""

import uuid

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.signed_in import SignedInRequest
from billing.accounts import open_account
from billing.models import CreditAccount, LedgerEntry
from billing.packages import PACKAGES_USD
from billing.pricing import NANO_PER_USD
from billing.tiers import TIERS

ENTRIES = 50


@require_safe
def billing(request: SignedInRequest) -> HttpResponse:
    """Show the entries older than the one whose id is `before`, or else the newest."""
    account = open_account(request.user)
    before = _entry(account, request.GET.get("before"))
    entries = account.entries.order_by("-id")  # Ids are UUIDv7, so this is by time.
    if before:
        entries = entries.filter(id__lt=before.id)
    found = list(entries[: ENTRIES + 1])
    context = {
        "section": "billing",
        "account": account,
        "tiers": list(enumerate(TIERS)),
        "missing_nano": missing_nano(account),
        "packages_usd": PACKAGES_USD,
        "entries": found[:ENTRIES],
        "older": found[ENTRIES - 1].id if len(found) > ENTRIES else None,
        "is_first_page": before is None,
    }
    return render(request, "billing/billing.html", context)


def missing_nano(account: CreditAccount) -> int | None:
    """Return how much more must be bought for the next tier; None at the highest."""
    following = account.tier + 1
    if following >= len(TIERS):
        return None
    return max(0, TIERS[following].purchases_usd * NANO_PER_USD - account.purchased_nano)


def _entry(account: CreditAccount, text: str | None) -> LedgerEntry | None:
    if not text:
        return None
    try:
        return account.entries.get(pk=uuid.UUID(text))
    except (ValueError, LedgerEntry.DoesNotExist) as error:
        raise Http404("There is no such page.") from error
