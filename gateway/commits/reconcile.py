"""Checks that the books agree with the request log; extends `billing.reconcile`.

An entry names its request, and a request names its price, so every charge can be computed again
from the tokens. The log is read in pages by id, so memory stays constant however long it is. Each
page is one statement, which reads a request and its entry at the same moment. The idempotency key
of a reversal names the request whose charge it gives back. Once the owner of an account is erased
its requests are gone, and only its sums are checked.
"""

import datetime as dt
import uuid
from collections.abc import Iterator

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery, UUIDField
from django.db.models.functions import Now

from billing import reconcile
from billing.ledger import reversal_key
from billing.models import Hold, KeySpend, LedgerEntry, PriceVersion
from billing.pricing import Price, Usage, cost_nano
from billing.reconcile import Difference, short, total_of
from gateway.models import BILLED, ApiRequest

PAGE = 2000
OVERDUE = dt.timedelta(seconds=60)


def differences(
    account_id: uuid.UUID | None = None, now: dt.datetime | None = None
) -> Iterator[Difference]:
    """Yield each difference, of all accounts or of one; none if the books are right.

    Deadlines are compared with `now`, or if that is None with the database's clock.
    """
    yield from reconcile.differences(account_id)
    of_account = {} if account_id is None else {"account": account_id}
    yield from _requests(ApiRequest.objects.filter(account__user__isnull=False, **of_account))
    entries = LedgerEntry.objects.filter(account__user__isnull=False, **of_account)
    yield from _entries(entries)
    yield from _reversals(entries)
    yield from _holds(Hold.objects.filter(**of_account), now or Now())
    yield from _key_totals(account_id)


def _requests(requests: QuerySet) -> Iterator[Difference]:
    """Check that each request is charged for its tokens and has an entry with that charge."""
    entry = LedgerEntry.objects.filter(request_id=OuterRef("pk"))
    rows = requests.order_by("pk").annotate(
        entry_nano=Subquery(entry.values("amount_nano")),
        entry_account=Subquery(entry.values("account"), output_field=UUIDField()),
    )
    fields = (
        "id account_id outcome price_version_id prompt_tokens cached_tokens completion_tokens "
        "images hold_nano cost_nano loss_nano entry_nano entry_account"
    )
    rows = rows.values_list(*fields.split(), named=True)
    prices = _Prices()
    page = list(rows[:PAGE])
    while page:
        for row in page:
            yield from _request(row, prices)
        page = list(rows.filter(pk__gt=page[-1].id)[:PAGE])


def _request(row, prices: "_Prices") -> Iterator[Difference]:
    full = _full_cost(row, prices)
    cost = min(full, row.hold_nano)
    entry = -row.cost_nano if row.cost_nano else None
    account = row.account_id if entry else None
    found = (row.entry_nano, row.entry_account)
    if row.outcome == ApiRequest.Outcome.LOST and row.entry_nano and _is_reversed(row):
        found = (None, None)
    pairs = {
        "cost": (cost, row.cost_nano),
        "loss": (full - cost, row.loss_nano),
        "entry": (entry, found[0]),
        "account of the entry": (account, found[1]),
    }
    for what, (expected, found) in pairs.items():
        if expected != found:
            yield Difference(row.account_id, f"{what} of request {short(row.id)}", expected, found)


def _is_reversed(row) -> bool:
    """True when the charge of a request was given back."""
    return LedgerEntry.objects.filter(
        kind=LedgerEntry.Kind.REVERSAL,
        idempotency_key=reversal_key(row.id.hex),
        amount_nano=-row.entry_nano,
    ).exists()


def _full_cost(row, prices: "_Prices") -> int:
    if row.outcome not in BILLED or row.price_version_id is None:
        return 0
    usage = Usage(
        prompt=row.prompt_tokens,
        cached=row.cached_tokens,
        completion=row.completion_tokens,
        images=row.images,
    )
    return cost_nano(prices[row.price_version_id], usage)


class _Prices(dict[uuid.UUID, Price]):
    """A cache of price versions. There are few, and they never change."""

    def __missing__(self, version_id: uuid.UUID) -> Price:
        self[version_id] = PriceVersion.objects.get(pk=version_id).price
        return self[version_id]


def _entries(entries: QuerySet) -> Iterator[Difference]:
    """Check that each usage entry has its request."""
    requests = ApiRequest.objects.filter(pk=OuterRef("request_id"))
    usage = entries.filter(~Exists(requests), kind=LedgerEntry.Kind.USAGE)
    for entry in usage.iterator():
        what = f"request of entry {short(entry.id)}"
        yield Difference(entry.account_id, what, short(entry.request_id), None)


def _reversals(entries: QuerySet) -> Iterator[Difference]:
    """Check that each reversal gives back the charge of a request that is now lost."""
    for entry in entries.filter(kind=LedgerEntry.Kind.REVERSAL).iterator():
        request_id = entry.idempotency_key.removeprefix(reversal_key(""))
        is_lost = ApiRequest.objects.filter(pk=request_id, outcome=ApiRequest.Outcome.LOST).exists()
        charges = LedgerEntry.objects.filter(account=entry.account_id, request_id=request_id)
        charged_nano = -sum(charges.values_list("amount_nano", flat=True))
        expected = charged_nano if is_lost else 0
        if expected != entry.amount_nano:
            what = f"reversal {short(entry.id)}"
            yield Difference(entry.account_id, what, expected, entry.amount_nano)


def _holds(holds: QuerySet, now: dt.datetime | Now) -> Iterator[Difference]:
    """Check that no hold outlives its deadline or its request."""
    for hold in holds.filter(deadline__lt=now - OVERDUE).iterator():
        what = f"hold {short(hold.id)}"
        yield Difference(hold.account_id, what, f"closed by {hold.deadline:%F %T}", "open")
    requests = ApiRequest.objects.filter(pk=OuterRef("pk"))
    for hold in holds.filter(Exists(requests)).iterator():
        what = f"hold {short(hold.id)}"
        yield Difference(hold.account_id, what, "closed with its request", "open")


def _key_totals(account_id: uuid.UUID | None) -> Iterator[Difference]:
    """Check that the total spend of each key is the cost of its requests."""
    spend = KeySpend.objects.filter(key__user__credit_account__isnull=False)
    if account_id is not None:
        spend = spend.filter(key__user__credit_account=account_id)
    wrong = spend.annotate(
        requests_nano=total_of(ApiRequest.objects.all(), "key", "cost_nano"),
        account_id=F("key__user__credit_account"),
    ).exclude(total_nano=F("requests_nano"))
    for row in wrong.iterator():
        what = f"spend of key {short(row.key_id)}"
        yield Difference(row.account_id, what, row.requests_nano, row.total_nano)
