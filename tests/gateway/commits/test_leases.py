"""A lease: when a process beats, under which id, and what it knows from that."""

import asyncio
import datetime as dt
import time
from types import SimpleNamespace

import pytest
from django.db import connections
from django.utils import timezone

from billing.models import Hold
from gateway.commits import leases, sweeper
from gateway.commits import queue as commit_queue
from gateway.commits.leases import Lease, NoLease
from gateway.models import SweeperState, WebProcess
from gateway.serving import reservation
from tests.support.another_session import another_session
from tests.support.books import differences
from tests.support.factories import make_account, make_ask, make_price, make_record, make_reserve
from tests.support.gateway.watched_engine import on_postgres

HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _apart(committed_books, settings):
    settings.LEASE_BEAT_INTERVAL_S = 600  # Only when a test asks for one.
    settings.LEASE_BEAT_TIMEOUT_S = 30


def run(story):
    """Run `story(lease)`; what it returned. The lease is this process's, and ends afterwards."""

    async def whole():
        try:
            return await story(leases.lease())
        finally:
            await commit_queue.close()

    return asyncio.run(whole())


def beats() -> list[int]:
    return list(WebProcess.objects.filter(dead_at=None).values_list("beat", flat=True))


async def in_thread(function):
    def then_close():
        try:
            return function()
        finally:
            connections.close_all()

    return await asyncio.to_thread(then_close)


def test_a_process_beats_once_and_then_only_when_that_is_old(settings):
    async def story(lease: Lease):
        first = await lease.fresh()
        seen = [await in_thread(beats)]
        assert await lease.fresh() is first
        settings.LEASE_FRESH_S = 0
        assert (await lease.fresh()).process_id == first.process_id
        return [*seen, await in_thread(beats)]

    first, second = run(story)
    assert second[0] == first[0] + 1


def test_a_process_that_stops_ends_its_lease():
    async def story(lease: Lease):
        return (await lease.fresh()).process_id

    assert WebProcess.objects.get(pk=run(story)).dead_at is not None


def test_many_who_need_a_beat_at_once_share_it():
    async def story(lease: Lease):
        return await asyncio.gather(*(lease.fresh() for _ in range(50)))

    assert len(set(map(id, run(story)))) == 1


def test_a_process_that_was_taken_for_dead_goes_on_under_a_new_id(settings, caplog):
    settings.LEASE_FRESH_S = 0

    async def story(lease: Lease):
        before = (await lease.fresh()).process_id
        await in_thread(lambda: WebProcess.objects.update(dead_at=timezone.now()))
        return before, (await lease.fresh()).process_id

    before, after = run(story)
    assert before != after
    assert f"process {before} was taken for dead" in caplog.text


def test_a_process_whose_row_is_gone_goes_on_under_a_new_id(settings):
    settings.LEASE_FRESH_S = 0

    async def story(lease: Lease):
        before = (await lease.fresh()).process_id
        await in_thread(lambda: WebProcess.objects.all().delete())
        return before, (await lease.fresh()).process_id

    before, after = run(story)
    assert before != after


@pytest.mark.skipif(not on_postgres, reason="SQLite locks no single row")
def test_a_beat_that_the_database_keeps_waiting_is_given_up(settings):
    settings.LEASE_FRESH_S = 0
    settings.LEASE_BEAT_TIMEOUT_S = 0.2

    async def story(lease: Lease):
        last = await lease.fresh()
        lock = "SELECT 1 FROM gateway_webprocess WHERE id = %s FOR UPDATE"
        with another_session() as session, session.transaction():
            session.execute(lock, [last.process_id])
            with pytest.raises(NoLease):
                await lease.fresh()
        return last.process_id, (await lease.fresh()).process_id

    before, after = run(story)
    assert before == after


def test_without_a_beat_nothing_is_reserved(settings, monkeypatch):
    """Otherwise the hold could be swept while its request runs."""
    account, price = make_account(balance_nano=1000), make_price()
    record = make_record(make_reserve(account, price, make_ask(10)))

    async def fail(*_):
        raise OSError("no route to the database")

    async def story(lease: Lease):
        monkeypatch.setattr(lease._rows, "open", fail)
        with pytest.raises(reservation.errors.Unavailable):
            await reservation.reserve(record, make_ask(10), price.id.hex)

    run(story)
    assert not Hold.objects.exists()


@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_a_process_whose_clock_is_wrong_holds_by_the_clock_of_the_database(monkeypatch, off):
    """An hour behind, its holds would be past their deadline from the first moment."""
    account, price = make_account(balance_nano=1000), make_price()
    record = make_record(make_reserve(account, price, make_ask(10)))

    wrong = SimpleNamespace(now=lambda zone: dt.datetime.now(zone) + off)
    monkeypatch.setattr(
        reservation, "dt", SimpleNamespace(datetime=wrong, timedelta=dt.timedelta, UTC=dt.UTC)
    )

    async def story(_):
        reserved = await reservation.reserve(record, make_ask(10), price.id.hex)
        await reserved.durable()

    run(story)
    hold = Hold.objects.get()
    assert abs(hold.created_at - timezone.now() - off) < dt.timedelta(minutes=1)
    assert dt.timedelta(minutes=10) < hold.deadline - timezone.now() < dt.timedelta(minutes=12)
    WebProcess.objects.update(dead_at=None)  # As if it hadn't stopped.
    assert sweeper.sweep() == 0
    assert differences(None) == []


def test_a_process_learns_with_a_beat_how_long_no_sweeper_has_run(settings):
    settings.LEASE_FRESH_S = 0
    SweeperState.objects.create(swept_at=timezone.now() - HOUR, oldest_transaction_s=7)

    async def story(lease: Lease):
        await lease.fresh()
        just_started = lease.sweeper_silent_s
        lease._began -= 10_000
        return just_started, lease.sweeper_silent_s, lease.oldest_transaction_s

    just_started, later, oldest_s = run(story)
    assert just_started < 60, "it counts from its own start at the most"
    assert 3600 <= later < 3660
    assert oldest_s == 7


def test_before_the_first_sweep_the_time_since_the_start_counts():
    async def story(lease: Lease):
        await lease.fresh()
        lease._began = time.clock_gettime(leases._CLOCK) - 130
        return lease.sweeper_silent_s

    assert 130 <= run(story) < 190
