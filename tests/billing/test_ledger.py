"""The arithmetic of the ledger on sheets, and credit, which goes to the database by itself."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import assume, given
from hypothesis import strategies as st

from accounts.ids import uuid7
from billing import ledger
from billing.accounts import give_signup_credit, open_account
from billing.errors import (
    InsufficientCredit,
    KeyCapReached,
    KeyReused,
    NoSuchAccount,
    TooManyOpenHolds,
)
from billing.key_spend import KeySheet
from billing.ledger import Ask, Grant, Sheet
from billing.models import CreditAccount, LedgerEntry
from tests.support.factories import make_account, make_user

TODAY = dt.date(2026, 11, 24)
PRICE = 1_500_000  # 1.5 nano-dollars for a token


def sheet(balance=1000, held=0, owed=0, open_holds=0, max_open_holds=8):
    return Sheet(balance, held, owed, open_holds, max_open_holds)


def key_sheet(**caps):
    key = KeySheet.fresh(TODAY)
    key.caps.update(caps)
    return key


def ask(fixed=0, *, price=PRICE, answers=1, max_tokens=100, flexible=False):
    return Ask(fixed, price, answers, max_tokens, flexible)


# --- What an ask costs, and what is affordable ---------------------------------------------------


def test_an_ask_costs_its_fixed_part_and_all_its_answers():
    assert ask(10, answers=3, max_tokens=5).amount(5) == 10 + 23  # ⌈3 × 5 × 1.5⌉


@given(
    fixed=st.integers(0, 10**9),
    price=st.integers(1, 10**12),
    answers=st.integers(1, 16),
    max_tokens=st.integers(0, 200_000),
    available=st.integers(0, 10**12),
)
def test_affordable_tokens_are_exactly_the_most_that_fit(
    fixed, price, answers, max_tokens, available
):
    one = ask(fixed, price=price, answers=answers, max_tokens=max_tokens)
    assume(fixed <= available)
    affordable = one.affordable_tokens(available)
    assert 0 <= affordable <= max_tokens
    assert one.amount(affordable) <= available
    assert affordable == max_tokens or one.amount(affordable + 1) > available


def test_nothing_is_affordable_below_the_fixed_part():
    assert ask(11).affordable_tokens(10) == 0
    assert ask(10).affordable_tokens(10) == 0


def test_free_tokens_are_affordable_without_credit():
    assert ask(0, price=0, max_tokens=77).affordable_tokens(0) == 77


# --- Reserve -------------------------------------------------------------------------------------


def test_a_reservation_sets_the_most_aside():
    books = sheet()
    assert ledger.reserve(books, ask(10)) == Grant(160, 100)
    assert (books.balance, books.held, books.open_holds, books.available) == (1000, 160, 1, 840)


def test_a_reservation_of_the_last_nano_dollar_fits():
    books = sheet(balance=160)
    ledger.reserve(books, ask(10))
    assert books.available == 0


def test_a_reservation_one_nano_dollar_too_large_is_refused_with_what_would_fit():
    books = sheet(balance=159)
    with pytest.raises(InsufficientCredit) as refusal:
        ledger.reserve(books, ask(10))
    error = refusal.value
    assert (error.required_nano, error.available_nano, error.affordable_max_tokens) == (
        160,
        159,
        99,
    )
    assert books == sheet(balance=159)


def test_a_flexible_ask_gets_fewer_tokens():
    assert ledger.reserve(sheet(balance=159), ask(10, flexible=True)) == Grant(159, 99)


def test_a_flexible_ask_wants_at_least_one_token():
    assert ledger.reserve(sheet(balance=12), ask(10, flexible=True)) == Grant(12, 1)
    with pytest.raises(InsufficientCredit) as refusal:
        ledger.reserve(sheet(balance=11), ask(10, flexible=True))
    assert refusal.value.required_nano == 12
    assert refusal.value.affordable_max_tokens == 0


def test_the_affordable_tokens_are_counted_per_answer():
    with pytest.raises(InsufficientCredit) as refusal:
        ledger.reserve(sheet(balance=100), ask(10, answers=4))
    assert refusal.value.affordable_max_tokens == 15  # 4 × 15 × 1.5 = 90


def test_nothing_is_reserved_while_something_is_owed():
    books = sheet(owed=1)
    assert books.available == 0
    with pytest.raises(InsufficientCredit):
        ledger.reserve(books, ask(1, max_tokens=0))


def test_what_is_held_is_not_available_again():
    with pytest.raises(InsufficientCredit):
        ledger.reserve(sheet(held=900), ask(101, max_tokens=0))


def test_one_request_more_than_may_run_is_refused():
    books = sheet(open_holds=8)
    with pytest.raises(TooManyOpenHolds) as refusal:
        ledger.reserve(books, ask(1))
    assert refusal.value.limit == 8
    assert books == sheet(open_holds=8)


def test_an_unlimited_account_runs_as_many_as_its_credit_allows():
    books = sheet(open_holds=10_000, max_open_holds=None)
    ledger.reserve(books, ask(1000, max_tokens=0))
    assert books.open_holds == 10_001


# --- Reserve against the caps of a key -----------------------------------------------------------


def test_a_cap_is_tighter_than_the_balance():
    key = key_sheet(day=150)
    with pytest.raises(KeyCapReached) as refusal:
        ledger.reserve(sheet(), ask(10), key)
    assert refusal.value.available_nano == 150
    assert refusal.value.affordable_max_tokens == 93


def test_a_refusal_by_a_cap_changes_nothing():
    books, key = sheet(), key_sheet(total=1)
    with pytest.raises(KeyCapReached):
        ledger.reserve(books, ask(10), key)
    assert (books, key) == (sheet(), key_sheet(total=1))


def test_a_flexible_ask_fits_the_tightest_cap():
    key = key_sheet(total=500, month=150, day=400)
    assert ledger.reserve(sheet(), ask(10, flexible=True), key) == Grant(150, 93)
    assert key.held == 150


def test_a_flexible_ask_fits_balance_and_cap():
    key = key_sheet(day=400)
    assert ledger.reserve(sheet(balance=40), ask(10, flexible=True), key) == Grant(40, 20)


def test_what_is_held_counts_against_a_cap():
    key = key_sheet(week=150)
    ledger.reserve(sheet(), ask(100, max_tokens=0), key)
    with pytest.raises(KeyCapReached):
        ledger.reserve(sheet(), ask(51, max_tokens=0), key)


def test_a_cap_below_what_was_spent_leaves_nothing():
    key = key_sheet(total=10)
    key.add(25)
    with pytest.raises(KeyCapReached) as refusal:
        ledger.reserve(sheet(), ask(1, max_tokens=0), key)
    assert refusal.value.available_nano == 0


def test_the_sums_of_ended_periods_begin_anew():
    key = key_sheet()
    key.add(7)
    key.roll(TODAY + dt.timedelta(days=1))  # Wednesday of the same week and month
    assert key.spent == {"total": 7, "day": 0, "week": 7, "month": 7}
    key.roll(dt.date(2026, 11, 30))  # Monday
    assert key.spent == {"total": 7, "day": 0, "week": 0, "month": 7}
    key.roll(dt.date(2026, 12, 1))
    assert key.spent == {"total": 7, "day": 0, "week": 0, "month": 0}


def test_a_clock_that_goes_back_reopens_no_period():
    key = key_sheet()
    key.add(7)
    key.roll(TODAY - dt.timedelta(days=40))
    assert key == KeySheet(0, dict.fromkeys(key.spent, 7), key_sheet().starts, key.caps)


# --- Settle and release --------------------------------------------------------------------------


@pytest.mark.parametrize("flexible", [True, False])
@pytest.mark.parametrize(
    ("account", "caps"),
    [({"balance": 0}, {}), ({"owed": 5}, {}), ({}, {"day": -4})],
    ids=["no credit", "in debt", "a cap below what was spent"],
)
def test_what_is_free_is_granted_whole_without_credit(account, caps, flexible):
    books, key, free = sheet(**account), key_sheet(**caps), ask(price=0, flexible=flexible)
    assert ledger.reserve(books, free, key) == Grant(0, 100)
    assert (books.held, books.open_holds) == (0, 1)


def test_a_settlement_charges_the_cost_and_frees_the_rest():
    books, key = sheet(), key_sheet(day=500)
    ledger.reserve(books, ask(10), key)
    assert ledger.settle(books, 160, 60, key) == 60
    assert (books.balance, books.held, books.open_holds) == (940, 0, 0)
    assert (key.held, key.spent["day"], key.remaining) == (0, 60, 440)


def test_a_settlement_never_charges_more_than_the_hold():
    books = sheet()
    ledger.reserve(books, ask(10))
    assert ledger.settle(books, 160, 161) == 160
    assert books.balance == 840


@given(cost_nano=st.integers(0, 2000))
def test_a_reversal_leaves_books_and_key_as_they_were(cost_nano):
    books, key = sheet(), key_sheet(day=500)
    grant = ledger.reserve(books, ask(10), key)
    charged = ledger.settle(books, grant.amount_nano, cost_nano, key)
    ledger.reverse(books, charged, TODAY, key)
    assert (books, key) == (sheet(), key_sheet(day=500))


def test_a_settlement_of_nothing_is_a_release():
    settled, released = sheet(held=160, open_holds=1), sheet(held=160, open_holds=1)
    assert ledger.settle(settled, 160, 0) == 0
    ledger.release(released, 160)
    assert settled == released == sheet()


# --- Credit --------------------------------------------------------------------------------------


def purchase(account, amount_nano, reference):
    return ledger.credit(
        account.id,
        kind=LedgerEntry.Kind.PURCHASE,
        amount_nano=amount_nano,
        idempotency_key=f"purchase:{reference}",
    )


def test_credit_raises_the_balance_by_one_entry(books):
    account = make_account()
    entry = purchase(account, 500, "pi_1")
    account.refresh_from_db()
    assert account.balance_nano == 500
    assert (entry.account_id, entry.kind, entry.amount_nano) == (account.id, "purchase", 500)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no single account")
def test_credit_makes_no_foreign_key_to_the_account_wait(books):
    """Or a request of it couldn't even be logged meanwhile."""
    account = make_account()
    with CaptureQueriesContext(connection) as asked:
        purchase(account, 500, "pi_1")
    locking = [one["sql"] for one in asked if " FOR " in one["sql"]]
    assert len(locking) == 1
    assert locking[0].endswith("FOR NO KEY UPDATE")


def test_credit_repeated_returns_the_first_entry(books):
    account = make_account()
    first, second = purchase(account, 500, "pi_1"), purchase(account, 500, "pi_1")
    account.refresh_from_db()
    assert first == second
    assert account.balance_nano == 500


def test_a_key_that_comes_back_with_another_amount_is_refused(books):
    account = make_account()
    purchase(account, 500, "pi_1")
    with pytest.raises(KeyReused):
        purchase(account, 501, "pi_1")


def test_a_key_that_comes_back_for_another_account_or_kind_is_refused(books):
    account = make_account()
    purchase(account, 500, "pi_1")
    with pytest.raises(KeyReused):
        purchase(make_account(), 500, "pi_1")
    with pytest.raises(KeyReused):
        ledger.credit(account.id, kind="referral", amount_nano=500, idempotency_key="purchase:pi_1")
    account.refresh_from_db()
    assert account.balance_nano == 500


def test_credit_to_nobody_is_refused(books):
    with pytest.raises(NoSuchAccount):
        purchase(CreditAccount(id=uuid7()), 500, "pi_1")


def test_the_sign_up_credit_is_given_once(books, settings):
    settings.SIGNUP_CREDIT_NANO = 500_000_000
    user = make_user()
    assert give_signup_credit(user) == give_signup_credit(user)
    assert open_account(user).balance_nano == 500_000_000


def test_a_person_has_one_account(books):
    user = make_user()
    assert open_account(user) == open_account(user)
