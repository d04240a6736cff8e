"""A batch applied again, after a commit whose fate is unknown; and operations that come late."""

import datetime as dt

import pytest
from django.db import connection

from billing.ledger import Grant
from billing.models import LedgerEntry
from gateway.commits.now import commit_now
from gateway.commits.operations import HoldClosed, Log
from gateway.models import ApiRequest, RequestContent
from tests.support.books import differences, hold, sums
from tests.support.factories import (
    make_account,
    make_ask,
    make_content,
    make_key,
    make_price,
    make_record,
    make_release,
    make_reserve,
    make_settle,
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


# --- Repeats, after a commit whose fate is unknown -----------------------------------------------


def test_a_reservation_repeated_is_granted_again(account, price):
    reserve = hold(account, price, now=NOW)
    assert commit_now([reserve]) == [Grant(1000, 0)]
    assert commit_now([reserve, reserve]) == [Grant(1000, 0)] * 2
    assert sums(account) == (100_000, 1000)
    assert differences(NOW) == []


def test_a_flexible_reservation_repeated_promises_no_more_than_the_hold_pays_for(price):
    account = make_account(balance_nano=1000)
    ask = make_ask(100, output_price=400_000_000, max_tokens=50, flexible=True)
    reserve = make_reserve(account, price, ask, now=NOW)
    assert commit_now([reserve]) == commit_now([reserve]) == [Grant(900, 2)]


def test_a_settlement_repeated_charges_once(account, price, key):
    settle = make_settle(
        hold(account, price, key=key, now=NOW), 700, content=make_content(), prompt_tokens=7
    )
    assert commit_now([settle]) == commit_now([settle]) == [700]
    assert LedgerEntry.objects.filter(kind="usage").count() == 1
    assert sums(account) == (99_300, 0)
    assert differences(NOW) == []


def test_a_settlement_twice_in_one_batch_charges_once(account, price):
    settle = make_settle(hold(account, price, now=NOW), 700, prompt_tokens=7)
    assert commit_now([settle, settle]) == [700, 700]
    assert sums(account) == (99_300, 0)
    assert differences(NOW) == []


def test_a_settlement_of_nothing_repeated_stays_nothing(account, price):
    settle = make_settle(hold(account, price, now=NOW), 0, outcome="upstream-failed", status=502)
    assert commit_now([settle]) == commit_now([settle]) == [0]


def test_a_release_repeated_changes_nothing(account, price):
    release = make_release(hold(account, price, now=NOW))
    assert commit_now([release]) == commit_now([release]) == [None]
    assert sums(account) == (100_000, 0)


def test_a_log_row_repeated_stays_as_it_was(account, price):
    record = make_record(make_reserve(account, price, make_ask(), now=NOW), outcome="refused")
    commit_now([Log(record)])
    record.status = 429
    commit_now([Log(record)])
    assert ApiRequest.objects.get().status == 200


def test_a_mixed_batch_repeated_changes_nothing(account, price, key):
    first, second = hold(account, price, key=key, now=NOW), hold(account, price, now=NOW)
    batch = [
        make_settle(first, 700, content=make_content(), prompt_tokens=7),
        make_release(second),
        make_reserve(account, price, make_ask(50), key=key, now=NOW),
        Log(make_record(make_reserve(account, price, make_ask()), outcome="refused")),
    ]
    assert commit_now(batch) == commit_now(batch)
    assert sums(account) == (99_300, 50)
    assert differences(NOW) == []


# --- Too late ------------------------------------------------------------------------------------


def test_a_settlement_without_a_hold_changes_nothing(account, price):
    settle = make_settle(
        make_reserve(account, price, make_ask(), now=NOW), 5, content=make_content()
    )
    (refusal,) = commit_now([settle])
    assert isinstance(refusal, HoldClosed)
    assert sums(account) == (100_000, 0)
    assert not ApiRequest.objects.exists()
    assert not RequestContent.objects.exists()


def test_a_settlement_after_a_release_is_refused(account, price):
    reserve = hold(account, price, now=NOW)
    results = commit_now([make_release(reserve), make_settle(reserve, 5)])
    assert isinstance(results[1], HoldClosed)
    assert sums(account) == (100_000, 0)


def test_a_release_after_a_settlement_changes_nothing(account, price):
    reserve = hold(account, price, now=NOW)
    assert commit_now([make_settle(reserve, 5), make_release(reserve)]) == [5, None]
    assert sums(account) == (99_995, 0)
