"""Whoever was told that an answer could not be settled pays nothing, whatever was written."""

import datetime as dt

import pytest

from billing import ledger
from billing.models import Hold, KeySpend, LedgerEntry
from gateway.commits import sweeper
from gateway.commits.now import commit_now
from gateway.commits.operations import Claim, ClaimEnd, HoldClosed, undo
from gateway.models import ApiRequest, IdempotentRequest
from tests.support.books import differences, hold, sums
from tests.support.factories import (
    make_account,
    make_ask,
    make_content,
    make_key,
    make_price,
    make_release,
    make_reserve,
    make_settle,
)

NOW = dt.datetime(2026, 11, 24, 12, 30, 15, 123_456, dt.UTC)  # A Tuesday.
SOON = NOW + dt.timedelta(seconds=20)
NEXT_DAY = NOW + dt.timedelta(days=1)


@pytest.fixture
def account(books):
    return make_account(balance_nano=100_000)


@pytest.fixture
def price(books):
    return make_price()  # 100 nano-dollars for an input token


@pytest.fixture
def key(account):
    return make_key(account.user)[0]


def settle_of(reserve, **fields):
    return make_settle(reserve, 700, prompt_tokens=7, content=make_content(), **fields)


def spent(key) -> tuple[int, ...]:
    """What `key` holds and has spent: in all, and in the day, week and month of its last change."""
    columns = ("held_nano", "total_nano", "day_nano", "week_nano", "month_nano")
    return KeySpend.objects.values_list(*columns).get(key=key)


def test_what_was_charged_is_given_back(account, price, key):
    settle = settle_of(hold(account, price, key=key, now=NOW))
    assert commit_now([settle]) == [700]
    assert commit_now([undo(settle, SOON)]) == [None]
    assert sums(account) == (100_000, 0)
    assert spent(key) == (0, 0, 0, 0, 0)
    entry = LedgerEntry.objects.get(kind="reversal")
    assert (entry.account, entry.amount_nano, entry.created_at) == (account, 700, SOON)
    request = ApiRequest.objects.get()
    assert (request.outcome, request.error_type) == ("lost", "server")
    assert (request.hold_nano, request.cost_nano, request.prompt_tokens) == (1000, 0, 7)
    assert ledger.gained_and_used(account.id) == (100_000, 0)
    assert differences(NOW) == []


def test_it_is_given_back_once(account, price, key):
    settle = settle_of(hold(account, price, key=key, now=NOW))
    reverse = undo(settle, SOON)
    commit_now([settle])
    assert commit_now([reverse, reverse]) == [None, None]
    assert commit_now([reverse]) == [None]
    assert sums(account) == (100_000, 0)
    assert LedgerEntry.objects.filter(kind="reversal").count() == 1
    assert differences(NOW) == []


def test_what_was_not_written_closes_its_hold_and_is_logged_as_lost(account, price, key):
    settle = settle_of(hold(account, price, key=key, now=NOW), model="m")
    commit_now([undo(settle, SOON)])
    assert not Hold.objects.exists()
    assert sums(account) == (100_000, 0)
    assert spent(key) == (0, 0, 0, 0, 0)
    request = ApiRequest.objects.get()
    assert (request.outcome, request.model, request.cost_nano) == ("lost", "m", 0)
    assert not LedgerEntry.objects.filter(kind="reversal").exists()
    assert differences(NOW) == []


def test_a_settlement_that_comes_after_its_reversal_is_refused(account, price):
    settle = settle_of(hold(account, price, now=NOW))
    _, refusal = commit_now([undo(settle, SOON), settle])
    assert isinstance(refusal, HoldClosed)
    (refusal,) = commit_now([settle])
    assert isinstance(refusal, HoldClosed)
    assert sums(account) == (100_000, 0)
    assert differences(NOW) == []


def test_settlement_and_reversal_may_share_a_batch(account, price, key):
    settle = settle_of(hold(account, price, key=key, now=NOW))
    assert commit_now([settle, undo(settle, SOON)]) == [700, None]
    assert sums(account) == (100_000, 0)
    assert ApiRequest.objects.get().cost_nano == 0
    assert differences(NOW) == []


def test_what_was_swept_or_released_is_not_reversed(account, price):
    swept, released = hold(account, price, now=NOW), hold(account, price, now=NOW)
    commit_now([make_release(released)])
    late = NOW + dt.timedelta(hours=1)
    assert sweeper.sweep(late) == 1
    commit_now([undo(settle_of(one), late) for one in (swept, released)])
    assert sums(account) == (100_000, 0)
    assert ApiRequest.objects.get().id.hex == swept.request_id
    assert differences(late) == []


def test_an_answer_that_was_free_is_lost_all_the_same(account, price):
    settle = make_settle(hold(account, price, now=NOW), 0, outcome="empty")
    commit_now([settle])
    commit_now([undo(settle, SOON)])
    assert ApiRequest.objects.get().outcome == "lost"
    assert not LedgerEntry.objects.filter(kind="reversal").exists()


def test_periods_that_have_ended_since_keep_their_sums(account, price, key):
    settle = settle_of(hold(account, price, key=key, now=NOW))
    commit_now([settle])
    other = hold(account, price, key=key, now=NEXT_DAY)
    commit_now([make_settle(other, 100, now=NEXT_DAY, prompt_tokens=1)])
    assert spent(key) == (0, 800, 100, 800, 800)
    commit_now([undo(settle, NEXT_DAY)])
    assert spent(key) == (0, 100, 100, 100, 100)
    assert differences(NEXT_DAY) == []


# --- Idempotency-Keys ----------------------------------------------------------------------------


def claimed(account, price, now=NOW):
    reserve = make_reserve(account, price, make_ask(1000), now=now)
    reserve.claim = Claim("k" * 64, "b" * 64, now + dt.timedelta(hours=24))
    return reserve


def completed(reserve):
    settle = settle_of(reserve)
    settle.claim_end = ClaimEnd(reserve.claim.id, is_complete=True)
    return settle


@pytest.mark.parametrize("was_written", [True, False])
def test_the_idempotency_key_of_what_is_reversed_is_free(account, price, was_written):
    reserve = claimed(account, price)
    settle = completed(reserve)
    commit_now([reserve, settle] if was_written else [reserve])
    assert IdempotentRequest.objects.filter(completed_at=None).exists() is not was_written
    commit_now([undo(settle, SOON)])
    assert not IdempotentRequest.objects.exists()
    assert differences(NOW) == []


def test_the_idempotency_key_may_be_taken_again_in_the_same_batch(account, price):
    reserve = claimed(account, price)
    settle, again = completed(reserve), claimed(account, price, SOON)
    commit_now([reserve, settle])
    _, grant = commit_now([undo(settle, SOON), again])
    assert grant.amount_nano == 1000
    assert IdempotentRequest.objects.get().request_id.hex == again.request_id
    assert differences(NOW) == []


def test_a_key_that_is_another_requests_since_stays_taken(account, price):
    reserve = claimed(account, price)
    settle = completed(reserve)
    commit_now([reserve, settle])
    next_day = NOW + dt.timedelta(hours=25)
    other = claimed(account, price, next_day)
    third = claimed(account, price, next_day)
    commit_now([other])
    _, refusal = commit_now([undo(settle, next_day), third])
    assert "k" * 64 in str(refusal)
    assert IdempotentRequest.objects.get().request_id.hex == other.request_id
