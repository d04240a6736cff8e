"""What an account gained and used in all: exactly what its entries add up to, without reading
those of its requests."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.ids import uuid7
from billing import ledger
from billing.models import CreditAccount, LedgerEntry
from tests.support.factories import make_account

pytestmark = pytest.mark.django_db(databases=["default", "keyring"])

Kind = LedgerEntry.Kind
OF_REQUESTS = (Kind.USAGE, Kind.REVERSAL)
GAINS = [
    Kind.REVERSAL,
    Kind.SIGNUP,
    Kind.PURCHASE,
    Kind.DISPUTE_WON,
    Kind.REFERRAL,
    Kind.ADJUSTMENT,
]
LOSSES = [Kind.USAGE, Kind.REFUND, Kind.DISPUTE, Kind.WRITE_OFF, Kind.BREAKAGE, Kind.ADJUSTMENT]
BOUGHT = 10**15

nano = st.integers(1, 10**13)
movements = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(GAINS), nano),
        st.tuples(st.sampled_from(LOSSES), nano.map(lambda amount: -amount)),
    ),
    max_size=30,
)


def post(account: CreditAccount, kind: Kind, amount_nano: int) -> None:
    request_id = uuid7() if kind == Kind.USAGE else None
    LedgerEntry.objects.create(
        account=account,
        kind=kind,
        amount_nano=amount_nano,
        request_id=request_id,
        idempotency_key=f"test:{uuid7()}",
    )
    account.balance_nano += amount_nano
    account.save()


@settings(max_examples=40, deadline=None)
@given(own=movements, others=movements)
def test_the_totals_are_the_sums_of_the_entries(own, others):
    account, other = make_account(balance_nano=BOUGHT), make_account(balance_nano=BOUGHT)
    for owner, posted in ((account, own), (other, others)):
        for kind, amount in posted:
            post(owner, kind, amount)
    gained = BOUGHT + sum(amount for kind, amount in own if kind not in OF_REQUESTS)
    used = -sum(amount for kind, amount in own if kind in OF_REQUESTS)
    assert ledger.gained_and_used(account.id) == (gained, used)


def test_an_account_without_any_entry_gained_and_used_nothing():
    assert ledger.gained_and_used(make_account().id) == (0, 0)


def test_what_requests_cost_is_not_read_one_by_one():
    account = make_account(balance_nano=1000)
    post(account, Kind.USAGE, -10)
    with CaptureQueriesContext(connection) as asked:
        assert ledger.gained_and_used(account.id) == (1000, 10)
    (query,) = asked
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # Of so few rows it would read all.
            cursor.execute(f"EXPLAIN {query['sql']}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
        plan = str(cursor.fetchall())
    assert "gains_of_account" in plan
