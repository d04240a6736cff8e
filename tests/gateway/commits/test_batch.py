"""One batch in one transaction: what it writes and what it refuses."""

import datetime as dt

import pytest
from django.db import connection

from accounts.ids import uuid7
from billing.errors import InsufficientCredit, KeyCapReached, NoSuchAccount, TooManyOpenHolds
from billing.key_spend import period_starts
from billing.ledger import Grant
from billing.models import CreditAccount, Hold, KeySpend, LedgerEntry
from gateway.commits import sql
from gateway.commits.now import commit_now
from gateway.commits.operations import Claim, ClaimEnd, HoldClosed, Log
from gateway.commits.record import COLUMNS
from gateway.models import ApiRequest, IdempotentRequest, RequestContent
from tests.support.books import differences, hold, sums
from tests.support.factories import (
    cap_key,
    make_account,
    make_ask,
    make_content,
    make_key,
    make_price,
    make_record,
    make_release,
    make_reserve,
    make_route,
    make_settle,
    make_user,
)

NOW = dt.datetime(2026, 11, 24, 12, 30, 15, 123_456, dt.UTC)


@pytest.fixture
def account(books):
    return make_account(balance_nano=100_000)


@pytest.fixture
def price(books):
    return make_price()  # 100 nano-dollars for an input token, 400 for an output token


@pytest.fixture
def key(account):
    return make_key(account.user)[0]


@pytest.fixture(autouse=True)
def _foreign_keys_hold(books):
    yield
    connection.check_constraints()


# --- What each operation writes ------------------------------------------------------------------


def test_nothing_at_all_is_a_batch(books):
    assert commit_now([]) == []


def test_a_reservation_writes_a_hold(account, price, key):
    reserve = hold(account, price, key=key, now=NOW)
    row = Hold.objects.get(pk=reserve.request_id)
    assert (row.account, row.key, row.price_version) == (account, key, price)
    assert (row.amount_nano, row.created_at) == (1000, NOW)
    assert row.deadline == NOW + dt.timedelta(seconds=660)
    assert sums(account) == (100_000, 1000)
    assert KeySpend.objects.get(key=key).held_nano == 1000
    assert differences(NOW) == []


def test_a_settlement_closes_the_hold_charges_and_logs(account, price, key):
    reserve = hold(account, price, key=key, now=NOW)
    settle = make_settle(reserve, 700, prompt_tokens=7)
    assert commit_now([settle]) == [700]
    assert not Hold.objects.exists()
    assert sums(account) == (99_300, 0)
    entry = LedgerEntry.objects.get(kind="usage")
    assert (entry.account, entry.amount_nano, entry.created_at) == (account, -700, NOW)
    assert entry.request_id.hex == reserve.request_id
    assert entry.idempotency_key == f"settle:{reserve.request_id}"
    request = ApiRequest.objects.get()
    assert (request.hold_nano, request.cost_nano, request.loss_nano) == (1000, 700, 0)
    assert differences(NOW) == []


def test_entries_of_one_batch_are_listed_in_the_order_of_their_time(account, price):
    reserves = [hold(account, price, now=NOW) for _ in range(5)]
    microsecond = dt.timedelta(microseconds=1)
    commit_now(
        [make_settle(one, i + 1, now=NOW + i * microsecond) for i, one in enumerate(reserves)]
    )
    charges = LedgerEntry.objects.filter(kind="usage").order_by("id")
    assert list(charges.values_list("amount_nano", flat=True)) == [-1, -2, -3, -4, -5]


def test_every_column_of_the_request_log_arrives(account, key):
    route = make_route("a-model")
    reserve = hold(account, route.price_version, key=key, now=NOW)
    columns = {
        "created_at": NOW,
        "api": "chat",
        "streamed": True,
        "outcome": "finished",
        "status": 200,
        "error_type": "",
        "finish_reason": "stop",
        "model": "a-model",
        "alias": "auto",
        "route_id": route.id,
        "provider": route.provider.slug,
        "attempts": [{"provider": 'with "quotes" and ünïcode', "status": None}],
        "prompt_tokens": 5,
        "cached_tokens": 2,
        "completion_tokens": 1,
        "reasoning_tokens": 1,
        "images": 3,
        "estimated": True,
        "flagged": True,
        "upstream_cost_nano": 12,
        "overhead_ms": 0.125,
        "first_token_ms": 12.5,
        "latency_ms": 100.25,
        "session_hash": "ab" * 16,
        "user_hash": "cd" * 16,
        "content_left_out": "budget",
    }
    settle = make_settle(reserve, 800)
    for column, value in columns.items():
        setattr(settle.record, column, value.hex if column == "route_id" else value)
    commit_now([settle])
    request = ApiRequest.objects.get()
    assert {column: getattr(request, column) for column in columns} == columns
    assert (request.account, request.key, request.price_version) == (
        account,
        key,
        route.price_version,
    )


def test_unknown_times_and_costs_stay_unknown(account, price):
    commit_now([make_settle(hold(account, price, now=NOW), 0)])
    request = ApiRequest.objects.get()
    assert request.key is None
    assert request.route is None
    assert request.upstream_cost_nano is None
    assert request.latency_ms is None


def test_dates_are_found_by_the_orm(account, price):
    commit_now([make_settle(hold(account, price, now=NOW), 1)])
    assert ApiRequest.objects.filter(created_at=NOW).exists()
    assert LedgerEntry.objects.filter(created_at__gte=NOW, kind="usage").exists()
    assert not Hold.objects.filter(deadline__lt=NOW).exists()
    whole_second = NOW.replace(microsecond=0)
    reserve = make_reserve(account, price, make_ask(1), now=whole_second)
    commit_now([reserve])
    assert Hold.objects.filter(created_at=whole_second).exists()


def test_content_is_kept_as_it_was_sealed(account, price):
    sealed = bytes(range(256))
    reserve = hold(account, price, now=NOW)
    purge_at = NOW + dt.timedelta(days=90)
    commit_now([make_settle(reserve, 1, content=make_content(sealed, purge_at))])
    kept = RequestContent.objects.get(pk=reserve.request_id)
    assert bytes(kept.sealed) == sealed
    assert (kept.account_id, kept.purge_at) == (account.id, purge_at)


def test_a_cost_above_the_hold_is_our_loss(account, price):
    assert commit_now([make_settle(hold(account, price, now=NOW), 1300)]) == [1000]
    request = ApiRequest.objects.get()
    assert (request.cost_nano, request.loss_nano) == (1000, 300)
    assert sums(account) == (99_000, 0)


def test_a_cost_of_nothing_leaves_no_entry(account, price):
    assert commit_now([make_settle(hold(account, price, now=NOW), 0)]) == [0]
    assert not LedgerEntry.objects.filter(kind="usage").exists()
    assert ApiRequest.objects.get().cost_nano == 0
    assert sums(account) == (100_000, 0)


def test_a_release_leaves_no_trace(account, price, key):
    reserve = hold(account, price, key=key, now=NOW)
    assert commit_now([make_release(reserve)]) == [None]
    assert not Hold.objects.exists()
    assert not ApiRequest.objects.exists()
    assert sums(account) == (100_000, 0)
    assert KeySpend.objects.get(key=key).held_nano == 0


def test_a_refused_request_is_logged_without_touching_the_account(account, price, key):
    record = make_record(make_reserve(account, price, make_ask(), key=key), outcome="refused")
    assert commit_now([Log(record)]) == [None]
    assert ApiRequest.objects.get().outcome == "refused"
    assert sums(account) == (100_000, 0)


def test_a_key_spends_by_day_week_and_month(account, price, key):
    commit_now([make_settle(hold(account, price, key=key, now=NOW), 10)])
    tomorrow = NOW + dt.timedelta(days=1)
    commit_now([make_settle(hold(account, price, key=key, now=NOW), 20, now=tomorrow)])
    spend = KeySpend.objects.get(key=key)
    assert (spend.day, spend.day_nano) == (dt.date(2026, 11, 25), 20)
    assert (spend.week, spend.week_nano) == (dt.date(2026, 11, 23), 30)
    assert (spend.month, spend.month_nano) == (dt.date(2026, 11, 1), 30)
    assert spend.total_nano == 30


def test_days_of_a_clock_that_was_ahead_count_as_today(account, price, key):
    now = dt.datetime.now(dt.UTC)
    ahead = now + dt.timedelta(days=400)
    commit_now([make_settle(hold(account, price, key=key, now=ahead), 10, now=ahead)])
    cap_key(key, day_cap_nano=1015, month_cap_nano=1015)
    commit_now([make_settle(hold(account, price, key=key, now=now), 10)])
    spend = KeySpend.objects.get(key=key)
    today = period_starts(now.date())
    assert {period: getattr(spend, period) for period in today} == today
    assert (spend.day_nano, spend.month_nano) == (20, 20)
    # The clock that is ahead can't empty the sums again, and so lift the caps.
    refusal = commit_now([make_reserve(account, price, make_ask(1000), key=key, now=ahead)])
    assert isinstance(refusal[0], KeyCapReached)
    assert KeySpend.objects.get(key=key).day == now.date()


def test_saving_what_a_key_spent_leaves_its_caps(account, price, key):
    cap_key(key, total_cap_nano=5000, month_cap_nano=4000, today=NOW.date())
    commit_now([make_settle(hold(account, price, key=key, now=NOW), 10)])
    spend = KeySpend.objects.get(key=key)
    assert (spend.total_cap_nano, spend.month_cap_nano, spend.day_cap_nano) == (5000, 4000, None)
    assert spend.month_nano == 10


def test_owing_is_left_alone(account, price):
    reserve = hold(account, price, now=NOW)
    CreditAccount.objects.filter(pk=account.pk).update(owed_nano=77)
    commit_now([make_settle(reserve, 10)])
    account.refresh_from_db()
    assert account.owed_nano == 77


# --- Many at once --------------------------------------------------------------------------------


def test_a_mixed_batch_of_many_accounts(price):
    accounts = [make_account(balance_nano=10_000) for _ in range(5)]
    reserves = [hold(one, price, now=NOW) for one in accounts]
    operations = [
        make_settle(reserves[0], 400, prompt_tokens=4),
        make_release(reserves[1]),
        make_reserve(accounts[2], price, make_ask(9000), now=NOW),
        make_reserve(accounts[3], price, make_ask(9001), now=NOW),
        Log(make_record(make_reserve(accounts[4], price, make_ask()), outcome="refused")),
    ]
    charged, released, grant, refusal, logged = commit_now(operations)
    assert (charged, released, grant, logged) == (400, None, Grant(9000, 0), None)
    assert isinstance(refusal, InsufficientCredit)
    assert [sums(one) for one in accounts] == [
        (9600, 0),
        (10_000, 0),
        (10_000, 10_000),
        (10_000, 1000),
        (10_000, 1000),
    ]
    assert differences(NOW) == []


def test_operations_on_one_account_see_each_other_in_order(price):
    account = make_account(balance_nano=1000)
    first = make_reserve(account, price, make_ask(600), now=NOW)
    second = make_reserve(account, price, make_ask(600), now=NOW)
    third = make_reserve(account, price, make_ask(600), now=NOW)
    results = commit_now([first, second, make_release(first), third])
    assert results[0] == results[3] == Grant(600, 0)
    assert isinstance(results[1], InsufficientCredit)
    assert [one.id.hex for one in Hold.objects.all()] == [third.request_id]
    assert sums(account) == (1000, 600)
    assert differences(NOW) == []


def test_a_request_may_open_and_close_in_one_batch(account, price, key):
    reserve = make_reserve(account, price, make_ask(1000), key=key, now=NOW)
    assert commit_now([reserve, make_settle(reserve, 300, prompt_tokens=3)]) == [
        Grant(1000, 0),
        300,
    ]
    assert not Hold.objects.exists()
    assert sums(account) == (99_700, 0)
    assert differences(NOW) == []


def test_a_batch_counts_open_holds_as_they_open_and_close(price):
    account = make_account(balance_nano=1000)
    reserves = [make_reserve(account, price, make_ask(1), now=NOW) for _ in range(9)]
    results = commit_now(reserves)
    assert results[:8] == [Grant(1, 0)] * 8
    assert isinstance(results[8], TooManyOpenHolds)
    again = make_reserve(account, price, make_ask(1), now=NOW)
    assert commit_now([make_release(reserves[0]), again]) == [None, Grant(1, 0)]


def test_two_keys_of_one_account_share_its_credit_and_keep_their_caps(price):
    account = make_account(balance_nano=1000)
    capped, free = make_key(account.user)[0], make_key(account.user)[0]
    cap_key(capped, day_cap_nano=300, today=NOW.date())
    results = commit_now(
        [
            make_reserve(account, price, make_ask(300), key=capped, now=NOW),
            make_reserve(account, price, make_ask(1), key=capped, now=NOW),
            make_reserve(account, price, make_ask(700), key=free, now=NOW),
        ]
    )
    assert [type(one).__name__ for one in results] == ["Grant", "KeyCapReached", "Grant"]
    assert differences(NOW) == []


def test_one_refused_operation_fails_alone(account, price):
    nobody = CreditAccount(id=uuid7())
    reserve = hold(account, price, now=NOW)
    results = commit_now(
        [
            make_reserve(nobody, price, make_ask(1), now=NOW),
            make_settle(make_reserve(account, price, make_ask(), now=NOW), 5),
            make_settle(reserve, 5, prompt_tokens=1),
        ]
    )
    assert isinstance(results[0], NoSuchAccount)
    assert isinstance(results[1], HoldClosed)
    assert results[2] == 5
    assert sums(account) == (99_995, 0)


def test_a_batch_of_the_largest_size(account, price):
    CreditAccount.objects.filter(pk=account.pk).update(unlimited=True)
    reserves = [make_reserve(account, price, make_ask(10), now=NOW) for _ in range(256)]
    assert commit_now(reserves) == [Grant(10, 0)] * 256
    settles = [make_settle(one, 9, content=make_content(b"x" * 1000)) for one in reserves]
    assert commit_now(settles) == [9] * 256
    assert sums(account) == (100_000 - 9 * 256, 0)
    assert RequestContent.objects.count() == 256


# --- After an erasure ----------------------------------------------------------------------------


def erase_owner(account):
    CreditAccount.objects.filter(pk=account.pk).update(user=None)


def test_content_is_dropped_once_the_account_has_no_owner(account, price):
    reserve = hold(account, price, now=NOW)
    erase_owner(account)
    assert commit_now([make_settle(reserve, 5, content=make_content())]) == [5]
    assert not RequestContent.objects.exists()


def test_the_owner_of_one_account_is_not_the_owner_of_another(price):
    kept, erased = make_account(make_user(), balance_nano=10), make_account(balance_nano=10)
    reserves = [hold(one, price, 1, now=NOW) for one in (kept, erased)]
    erase_owner(erased)
    commit_now([make_settle(one, 1, content=make_content()) for one in reserves])
    assert [one.account_id for one in RequestContent.objects.all()] == [kept.id]


@pytest.mark.parametrize("is_erased", [False, True])
def test_an_answer_for_those_who_ask_again_is_kept_only_while_there_is_an_owner(
    account, price, is_erased
):
    reserve = make_reserve(account, price, make_ask(), now=NOW)
    reserve.claim = Claim("k" * 64, "b" * 64, NOW + dt.timedelta(hours=24))
    commit_now([reserve])
    if is_erased:
        erase_owner(account)
    settle = make_settle(reserve, 0)
    settle.claim_end = ClaimEnd(reserve.claim.id, is_complete=True, answer="aGk=")
    assert commit_now([settle]) == [0]
    kept = IdempotentRequest.objects.get()
    assert kept.completed_at == NOW
    assert kept.answer == (None if is_erased else b"hi")


def test_the_statement_takes_the_columns_of_a_record_in_their_order():
    assert sql.columns("insert_requests") == COLUMNS
