"""Checks that the books agree with themselves, without reading the request log.

Each check is one statement, so it sees one moment of the books however busy they are. The
database compares and returns only the differences.
"""

import dataclasses
import uuid
from collections.abc import Iterator

from django.db.models import BigIntegerField, Count, F, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from accounts.models import ApiKey
from billing.models import CreditAccount, Hold, KeySpend, LedgerEntry


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """Two places that should agree and don't. Amounts in nano-dollars."""

    account_id: uuid.UUID | None
    what: str
    expected: object
    found: object

    def __str__(self):
        account = short(self.account_id) if self.account_id else "no account"
        return f"{account}  {self.what}: expected {self.expected}, found {self.found}"


def short(row_id: uuid.UUID) -> str:
    return str(row_id)[:13]


def differences(account_id: uuid.UUID | None = None) -> Iterator[Difference]:
    """Yield the errors in balances, holds and entries, of all accounts or of one."""
    accounts = CreditAccount.objects.all()
    if account_id is not None:
        accounts = accounts.filter(pk=account_id)
    yield from _balances(accounts)
    yield from _held(accounts)
    yield from _open_holds(accounts)
    yield from _key_held(accounts)
    yield from _signups(accounts)
    yield from _purchases(accounts)


def total_of(rows: QuerySet, by: str, amount: str) -> Coalesce:
    """Return the sum of `amount` over the `rows` whose `by` is the outer row; 0 without any."""
    sums = rows.filter(**{by: OuterRef("pk")}).order_by().values(by).annotate(sum=Sum(amount))
    return Coalesce(Subquery(sums.values("sum")), Value(0), output_field=BigIntegerField())


def _balances(accounts: QuerySet) -> Iterator[Difference]:
    """Check that the balance is the sum of the entries."""
    entries = total_of(LedgerEntry.objects.all(), "account", "amount_nano")
    wrong = accounts.annotate(entries_nano=entries).exclude(balance_nano=F("entries_nano"))
    for account in wrong.iterator():
        yield Difference(account.id, "balance", account.entries_nano, account.balance_nano)


def _held(accounts: QuerySet) -> Iterator[Difference]:
    """Check that the held amount is the sum of the open holds."""
    holds = total_of(Hold.objects.all(), "account", "amount_nano")
    wrong = accounts.annotate(holds_nano=holds).exclude(held_nano=F("holds_nano"))
    for account in wrong.iterator():
        yield Difference(account.id, "held", account.holds_nano, account.held_nano)


def _open_holds(accounts: QuerySet) -> Iterator[Difference]:
    """Check that the counter of open holds is their number."""
    holds = Hold.objects.filter(account=OuterRef("pk")).order_by().values("account")
    number = Subquery(holds.annotate(number=Count("pk")).values("number"))
    counted = Coalesce(number, Value(0), output_field=BigIntegerField())
    wrong = accounts.annotate(number=counted).exclude(open_holds=F("number"))
    for account in wrong.iterator():
        yield Difference(account.id, "open holds", account.number, account.open_holds)


def _key_held(accounts: QuerySet) -> Iterator[Difference]:
    """Check that the amount held of a key's caps is the sum of the holds made with it."""
    spend = KeySpend.objects.filter(key=OuterRef("pk")).values("held_nano")
    wrong = (
        ApiKey.objects.filter(user__credit_account__in=accounts)
        .annotate(
            holds_nano=total_of(Hold.objects.all(), "key", "amount_nano"),
            held_nano=Coalesce(Subquery(spend), Value(0), output_field=BigIntegerField()),
            account_id=F("user__credit_account"),
        )
        .exclude(held_nano=F("holds_nano"))
    )
    for key in wrong.iterator():
        what = f"held of key {short(key.id)}"
        yield Difference(key.account_id, what, key.holds_nano, key.held_nano)


def _signups(accounts: QuerySet) -> Iterator[Difference]:
    """Check that the sign-up gift is given once."""
    gifts = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.SIGNUP, account__in=accounts)
    repeated = gifts.order_by().values("account").annotate(number=Count("pk")).filter(number__gt=1)
    for row in repeated.iterator():
        yield Difference(row["account"], "number of sign-up credits", 1, row["number"])


def _purchases(accounts: QuerySet) -> Iterator[Difference]:
    """Check that a purchase is keyed by its payment: otherwise it could be credited twice."""
    purchases = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.PURCHASE, account__in=accounts)
    for entry in purchases.exclude(idempotency_key__startswith="purchase:").iterator():
        what = f"key of purchase {short(entry.id)}"
        yield Difference(entry.account_id, what, "purchase:…", entry.idempotency_key)
