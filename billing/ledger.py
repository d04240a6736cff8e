"""The rules of the ledger: reserve, settle, release, reverse and credit, and the sums they leave.

`reserve`, `settle`, `release` and `reverse` change a `Sheet`, the books of one account while its
row is locked. They are plain arithmetic: the gateway's group commit (and any other caller) reads
sheets, applies many operations to them and writes them back in one transaction. The pure model in
`tests/billing/` is their oracle.
"""

import dataclasses
import datetime as dt
import uuid

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.ids import id_at
from billing.errors import (
    InsufficientCredit,
    KeyCapReached,
    KeyReused,
    NoSuchAccount,
    TooManyOpenHolds,
)
from billing.key_spend import KeySheet
from billing.models import CreditAccount, LedgerEntry
from billing.pricing import MILLION, tokens_nano


@dataclasses.dataclass(slots=True)
class Sheet:
    """The books of one account, locked. Amounts in nano-dollars."""

    balance: int
    held: int
    owed: int
    open_holds: int
    max_open_holds: int | None

    @property
    def available(self) -> int:
        """The amount that can be reserved: nothing while the account owes something."""
        return 0 if self.owed else self.balance - self.held


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """The most that a request can cost: a fixed part, and `max_tokens` for each answer.

    If `flexible`, the caller named no limit: fewer tokens will do, but at least one.
    """

    fixed_nano: int
    output_price: int
    answers: int
    max_tokens: int
    flexible: bool

    def amount(self, max_tokens: int) -> int:
        return self.fixed_nano + tokens_nano(self.answers * max_tokens, self.output_price)

    def affordable_tokens(self, available: int) -> int:
        """Return the largest limit, up to `max_tokens`, whose amount is within `available`."""
        left = available - self.fixed_nano
        if left < 0:
            return 0
        if not self.output_price or not self.answers:
            return self.max_tokens
        return min(self.max_tokens, left * MILLION // self.output_price // self.answers)


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """A reservation: the hold's amount and the output limit that it pays for."""

    amount_nano: int
    max_tokens: int


def reserve(sheet: Sheet, ask: Ask, key: KeySheet | None = None) -> Grant:
    """Set aside the most that `ask` can cost.

    Raises TooManyOpenHolds, InsufficientCredit or KeyCapReached, and then changes nothing.
    """
    if sheet.max_open_holds is not None and sheet.open_holds >= sheet.max_open_holds:
        raise TooManyOpenHolds(sheet.max_open_holds)
    grant = _fit(ask, sheet.available, InsufficientCredit)
    if key is not None and key.remaining is not None:
        grant = _fit(
            dataclasses.replace(ask, max_tokens=grant.max_tokens), key.remaining, KeyCapReached
        )
    sheet.held += grant.amount_nano
    sheet.open_holds += 1
    if key is not None:
        key.held += grant.amount_nano
    return grant


def _fit(ask: Ask, available: int, refusal: type[InsufficientCredit]) -> Grant:
    available = max(available, 0)  # A cap may have been lowered below what its key has spent.
    affordable = ask.affordable_tokens(available)
    wanted = min(ask.max_tokens, max(affordable, 1)) if ask.flexible else ask.max_tokens
    required = ask.amount(wanted)
    if required > available:
        raise refusal(required, available, affordable)
    return Grant(required, wanted)


def settle(sheet: Sheet, hold_nano: int, cost_nano: int, key: KeySheet | None = None) -> int:
    """Close a hold and charge the cost, never more than the hold. Returns what was charged."""
    charged = min(cost_nano, hold_nano)
    release(sheet, hold_nano, key)
    sheet.balance -= charged
    if key is not None:
        key.add(charged)
    return charged


def release(sheet: Sheet, hold_nano: int, key: KeySheet | None = None) -> None:
    """Close a hold without a charge."""
    sheet.held -= hold_nano
    sheet.open_holds -= 1
    if key is not None:
        key.held -= hold_nano


def reverse(
    sheet: Sheet, charged_nano: int, charged_on: dt.date, key: KeySheet | None = None
) -> None:
    """Give back a charge, because the caller has got an answer that says nothing was charged."""
    sheet.balance += charged_nano
    if key is not None:
        key.take_back(charged_nano, charged_on)


def reversal_key(request_id: str) -> str:
    """Return the idempotency key of the entry that gives back the cost of a request."""
    return f"reverse:{request_id}"


def gained_and_used(account_id: uuid.UUID) -> tuple[int, int]:
    """Return what came in (less refunds and the like), and what all requests have cost.

    The balance is the sum of both, so the cost needs no reading of the usage entries.
    """
    gains = (
        LedgerEntry.objects.filter(
            ~Q(kind=LedgerEntry.Kind.USAGE),
            ~Q(kind=LedgerEntry.Kind.REVERSAL),
            account=OuterRef("pk"),
        )
        .order_by()
        .values("account")
        .values(sum=Sum("amount_nano"))
    )
    # One statement, so that no charge or credit comes in between.
    accounts = CreditAccount.objects.annotate(gained=Coalesce(Subquery(gains), 0))
    balance, gained = accounts.values_list("balance_nano", "gained").get(pk=account_id)
    return gained, gained - balance


def credit(
    account_id: uuid.UUID,
    *,
    kind: LedgerEntry.Kind,
    amount_nano: int,
    idempotency_key: str,
    at: dt.datetime | None = None,
) -> LedgerEntry:
    """Post one entry that raises the balance, once per idempotency key; `at` defaults to now.

    A repetition returns the first entry. Raises NoSuchAccount; KeyReused when the amount, the
    kind or the account differ from the first time.
    """
    with transaction.atomic():
        account = CreditAccount.objects.select_for_update(no_key=True).filter(pk=account_id).first()
        if account is None:
            raise NoSuchAccount(str(account_id))
        entry = LedgerEntry.objects.filter(idempotency_key=idempotency_key).first()
        if entry is not None:
            if (entry.account_id, entry.kind, entry.amount_nano) != (account_id, kind, amount_nano):
                raise KeyReused(idempotency_key)
            return entry
        account.balance_nano += amount_nano
        account.save(update_fields=["balance_nano"])
        at = at or timezone.now()
        return LedgerEntry.objects.create(
            id=id_at(at),
            account=account,
            kind=kind,
            amount_nano=amount_nano,
            idempotency_key=idempotency_key,
            created_at=at,
        )
