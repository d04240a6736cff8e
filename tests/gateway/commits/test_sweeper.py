"""Holds of dead processes: closed once, at no cost, whoever else works on the same books."""

import datetime as dt
import logging
import threading
import time

import pytest
from django.db import connection, connections

from billing.models import CreditAccount, Hold, KeySpend, LedgerEntry, PriceVersion
from gateway import tasks
from gateway.commits import sweeper
from gateway.commits.now import commit_now
from gateway.commits.operations import HoldClosed, Release
from gateway.models import ApiRequest
from tests.support.another_session import another_session
from tests.support.books import differences, hold, sums
from tests.support.factories import make_account, make_key, make_price, make_route, make_settle

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def abandoned(account, price, *, age=12 * MINUTE, **fields):
    """A hold that was opened `age` ago, for 11 minutes."""
    return hold(account, price, now=NOW - age, **fields)


@pytest.fixture
def account(books):
    return make_account(balance_nano=10_000)


@pytest.fixture
def price(books):
    return make_price()


def test_without_holds_there_is_nothing_to_sweep(books):
    assert sweeper.sweep(NOW) == 0


def test_a_hold_before_its_deadline_is_left_alone(account, price):
    abandoned(account, price, age=11 * MINUTE)
    assert sweeper.sweep(NOW) == 0
    assert sums(account) == (10_000, 1000)


def test_an_expired_hold_is_closed_without_a_charge(account, price):
    key = make_key(account.user)[0]
    abandoned(account, price, key=key)
    assert sweeper.sweep(NOW) == 1
    assert not Hold.objects.exists()
    assert not LedgerEntry.objects.filter(kind="usage").exists()
    assert sums(account) == (10_000, 0)
    assert KeySpend.objects.get(key=key).held_nano == 0
    assert differences(NOW) == []


def test_its_request_is_logged_as_lost(account):
    route = make_route("a-model")
    key = make_key(account.user)[0]
    reserve = abandoned(account, route.price_version, key=key)
    sweeper.sweep(NOW)
    request = ApiRequest.objects.get(pk=reserve.request_id)
    assert (request.outcome, request.status, request.error_type) == ("lost", 0, "server")
    assert (request.account, request.key, request.created_at) == (account, key, reserve.now)
    assert (request.model, request.provider) == ("a-model", route.provider.slug)
    assert (request.route, request.price_version) == (route, route.price_version)
    assert (request.hold_nano, request.cost_nano, request.loss_nano) == (1000, 0, 0)


def test_a_price_that_no_route_has_any_more_leaves_the_model_open(account, price):
    abandoned(account, price)
    assert sweeper.sweep(NOW) == 1
    request = ApiRequest.objects.get()
    assert (request.model, request.route, request.price_version) == ("", None, price)


def test_a_price_of_several_routes_leaves_the_model_open(account, price):
    for _ in range(3):
        make_route(price=price)
    abandoned(account, price)
    assert sweeper.sweep(NOW) == 1
    assert ApiRequest.objects.get().route is None


def test_each_account_is_swept_in_a_transaction_of_its_own(price, monkeypatch):
    accounts = [make_account(balance_nano=2000) for _ in range(5)]
    for account in 2 * accounts:
        abandoned(account, price)
    transactions = []

    def commit(operations, **limits):
        transactions.append(([one.account_id for one in operations], limits))
        return commit_now(operations, **limits)

    monkeypatch.setattr(sweeper, "commit_now", commit)
    assert sweeper.sweep(NOW) == 10
    assert transactions == [
        ([account.id.hex] * 2, {"lock_wait_ms": 200})
        for account in sorted(accounts, key=lambda one: one.id)
    ]
    assert CreditAccount.objects.filter(held_nano=0, open_holds=0).count() == 5
    assert differences(NOW) == []


def test_many_holds_of_one_account_are_swept_some_at_a_time(price, monkeypatch):
    monkeypatch.setattr(sweeper, "AT_ONCE", 2)
    account = make_account(balance_nano=5000)
    for _ in range(5):
        abandoned(account, price)
    assert sweeper.sweep(NOW) == 5
    assert differences(NOW) == []


def test_a_sweep_takes_the_oldest_first_and_no_more_than_its_limit(account, price):
    holds = [abandoned(account, price, age=age * MINUTE) for age in (12, 15, 20)]
    assert sweeper.sweep(NOW, limit=2) == 2
    assert [one.id.hex for one in Hold.objects.all()] == [holds[0].request_id]
    assert sweeper.sweep(NOW, limit=2) == 1
    assert sweeper.sweep(NOW, limit=2) == 0


# --- Against others ------------------------------------------------------------------------------


def test_a_settlement_that_comes_after_the_sweep_changes_nothing(account, price):
    reserve = abandoned(account, price)
    sweeper.sweep(NOW)
    (refusal,) = commit_now([make_settle(reserve, 700)])
    assert isinstance(refusal, HoldClosed)
    assert sums(account) == (10_000, 0)
    assert ApiRequest.objects.get().outcome == "lost"
    assert differences(NOW) == []


@pytest.mark.parametrize("cost", [0, 700])
def test_a_sweep_that_comes_after_the_settlement_changes_nothing(account, price, cost, monkeypatch):
    reserve = abandoned(account, price)
    settle = make_settle(reserve, cost, now=NOW, prompt_tokens=cost // 100)
    _just_before_the_sweep_commits(monkeypatch, lambda: commit_now([settle]))
    assert sweeper.sweep(NOW) == 0
    assert sums(account) == (10_000 - cost, 0)
    assert ApiRequest.objects.get().outcome == "finished"
    assert differences(NOW) == []


def test_a_sweep_that_comes_after_another_changes_nothing(account, price, monkeypatch):
    abandoned(account, price)
    counts = []
    _just_before_the_sweep_commits(monkeypatch, lambda: counts.append(sweeper.sweep(NOW)))
    assert sweeper.sweep(NOW) == 0
    assert counts == [1]
    assert sums(account) == (10_000, 0)
    assert differences(NOW) == []


def test_a_sweep_that_comes_after_a_release_leaves_no_trace(account, price, monkeypatch):
    reserve = abandoned(account, price)
    release = Release(reserve.request_id, reserve.account_id, None, NOW)
    _just_before_the_sweep_commits(monkeypatch, lambda: commit_now([release]))
    assert sweeper.sweep(NOW) == 0
    assert not ApiRequest.objects.exists()


def _just_before_the_sweep_commits(monkeypatch, happens):
    """Let something happen between the sweep's look at the holds and its commit."""

    def commit(operations, **limits):
        monkeypatch.setattr(sweeper, "commit_now", commit_now)
        happens()
        return commit_now(operations, **limits)

    monkeypatch.setattr(sweeper, "commit_now", commit)


def test_sweeps_and_late_settlements_at_the_same_time_close_each_hold_once(committed_books):
    account, price = make_account(balance_nano=100_000, unlimited=True), make_price()
    reserves = [abandoned(account, price) for _ in range(30)]
    swept, charged = [], []
    start = threading.Barrier(4)

    def in_thread(function):
        def run():
            try:
                start.wait()
                function()
            finally:
                connections.close_all()

        return threading.Thread(target=run)

    def settle():
        for reserve in reserves:
            charged.extend(commit_now([make_settle(reserve, 100, now=NOW, prompt_tokens=1)]))

    sweeps = [in_thread(lambda: swept.append(sweeper.sweep(NOW))) for _ in range(3)]
    threads = [*sweeps, in_thread(settle)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settled = charged.count(100)
    assert len(swept) == 3
    assert sum(swept) + settled == 30
    assert ApiRequest.objects.filter(outcome="lost").count() == sum(swept)
    assert sums(account) == (100_000 - 100 * settled, 0)
    assert differences(NOW) == []


def test_a_hold_that_cannot_be_closed_does_not_keep_the_others_open(price, caplog):
    broken, sound = (make_account(balance_nano=1000) for _ in range(2))
    for account in (broken, sound):
        abandoned(account, price)
    CreditAccount.objects.filter(pk=broken.pk).update(held_nano=0)  # Then 1000 can't be freed.
    assert sweeper.sweep(NOW) == 1
    assert [one.account for one in Hold.objects.all()] == [broken]
    assert "can't be swept" in caplog.text


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no single account")
def test_a_locked_account_is_left_for_the_next_run(committed_books, caplog):
    locked, free = (make_account(balance_nano=1000) for _ in range(2))
    price = make_price()
    for account in (locked, free):
        abandoned(account, price)
    with another_session() as session, session.transaction():
        session.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")  # No test hangs.
        session.execute("SELECT 1 FROM billing_creditaccount WHERE id = %s FOR UPDATE", [locked.id])
        began = time.monotonic()
        assert sweeper.sweep(NOW) == 1
        assert time.monotonic() - began < 5, "it waited for 200 ms"
    assert [one.account for one in Hold.objects.all()] == [locked]
    assert "can't be swept now: LockNotAvailable" in caplog.text
    assert sweeper.sweep(NOW) == 1


# --- The jobs ------------------------------------------------------------------------------------


def test_the_job_sweeps_and_says_so(account, price, caplog):
    abandoned(account, price, age=dt.timedelta(days=400))
    with caplog.at_level(logging.INFO, logger="gateway"):
        tasks.sweep_holds()
    assert not Hold.objects.exists()
    assert "swept 1 abandoned holds" in caplog.text


def test_the_jobs_have_the_names_that_the_schedule_calls(settings):
    names = {one["task"] for one in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {tasks.sweep_holds.name, tasks.make_partitions.name} <= names


def test_a_swept_price_version_stays_unchanged(account, price):
    abandoned(account, price)
    sweeper.sweep(NOW)
    assert PriceVersion.objects.get().price == price.price
