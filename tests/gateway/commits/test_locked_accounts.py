"""An account that another session has locked holds up its own operations and nobody else's."""

import asyncio
import dataclasses
import itertools
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import pytest

from accounts.ids import uuid7
from billing.ledger import Grant
from billing.models import Hold
from gateway.commits import queue as commit_queue
from gateway.commits import reconcile
from gateway.commits.postgres import LOCK_WAIT_MS, connect
from gateway.commits.queue import RETRY_LOCK_WAIT_MS, CommitFailed, QueueFull
from gateway.models import ApiRequest
from tests.support.books import sums
from tests.support.factories import make_account, make_price, make_settle
from tests.support.gateway.watched_engine import (
    AMPLE_S,
    SOON_S,
    begun,
    log_of_a_refusal,
    on_postgres,
    reserves_of,
    run,
    submit_all,
)

MANY_ACCOUNTS = 16
GRANTED = Grant(10, 0)


@pytest.fixture
def accounts(committed_books):
    return [make_account(balance_nano=1000, unlimited=True) for _ in range(MANY_ACCOUNTS)]


@pytest.fixture
def price(committed_books):
    return make_price()


def reserves_of_each(accounts, price):
    return [reserve for one in accounts for reserve in reserves_of(one, price, 2)]


def submit_each(queue, operations, timeout_s=AMPLE_S):
    return [asyncio.create_task(queue.submit(one, timeout_s)) for one in operations]


# --- Of any lock ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 5, MANY_ACCOUNTS - 1])
def test_others_are_written_while_an_account_is_locked(accounts, price, place):
    locked = accounts[place]

    async def story(queue, engine):
        engine.locked.add(locked.id.hex)
        asking = submit_each(queue, reserves_of_each(accounts, price))
        others = [one for i, one in enumerate(asking) if i // 2 != place]
        results = await asyncio.gather(*others)
        waits = [one for one in asking if not one.done()]
        engine.locked.clear()
        return results, len(waits), await asyncio.gather(*waits), engine.lock_waits_ms

    results, waited, late, lock_waits_ms = run(story)
    assert results == [GRANTED] * 2 * (MANY_ACCOUNTS - 1)
    assert (waited, late) == (2, [GRANTED] * 2)
    assert lock_waits_ms[:2] == [LOCK_WAIT_MS, RETRY_LOCK_WAIT_MS]  # One probe finds it.
    assert [sums(one) for one in accounts] == [(1000, 20)] * MANY_ACCOUNTS


def test_what_comes_for_a_locked_account_joins_those_who_wait_for_it(accounts, price):
    locked, other = accounts[:2]

    async def story(queue, engine):
        engine.locked.add(locked.id.hex)
        waiting = [await begun(queue, engine, reserves_of(locked, price, 1)[0])]
        results = []
        for _ in range(5):
            waiting += submit_each(queue, reserves_of(locked, price, 1))
            results += await submit_all(queue, reserves_of(other, price, 1))
        assert not any(one.done() for one in waiting)
        depth = queue.depth
        engine.locked.clear()
        return results, depth, await asyncio.gather(*waiting), engine.lock_waits_ms

    results, depth, late, lock_waits_ms = run(story)
    assert results == [GRANTED] * 5
    assert (depth, late) == (6, [GRANTED] * 6)
    assert lock_waits_ms.count(LOCK_WAIT_MS) == 6  # The first one, and those of the other account.


def test_all_locked_accounts_together_take_a_fifth_of_the_time(accounts, price, monkeypatch):
    """One probe for all of them, after which they rest four times as long as it took."""

    async def story(queue, engine):
        engine.locked.update(one.id.hex for one in accounts[1:])
        waiting = submit_each(queue, reserves_of_each(accounts[1:], price))
        await submit_all(queue, reserves_of(accounts[0], price, 1))
        clock, delays_s = itertools.count(step=1.5), []  # A probe takes so long.
        monkeypatch.setattr(commit_queue, "time", SimpleNamespace(monotonic=lambda: next(clock)))

        def now_rather_than_later(delay_s, retry):
            delays_s.append(delay_s)
            if len(delays_s) == 3:
                engine.locked.clear()
            queue._due.append(retry)

        queue._call_later = now_rather_than_later
        before = engine.probes
        await asyncio.gather(*waiting)
        return delays_s, engine.probes - before

    delays_s, probes = run(story)
    assert delays_s == [6, 6, 6]
    assert probes == 4
    assert {sums(one) for one in accounts[1:]} == {(1000, 20)}


def test_an_account_that_stays_locked_is_waited_for_once(accounts, price):
    """A customer who tries again and again must not cost all others a wait each time."""
    locked, other = accounts[:2]

    async def story(queue, engine):
        engine.locked.add(locked.id.hex)
        for _ in range(3):
            with pytest.raises(CommitFailed):
                await queue.submit(reserves_of(locked, price, 1)[0], SOON_S)
            await engine.probed(2)  # None of its operations is left.
        assert queue.depth == 0
        assert engine.lock_waits_ms.count(LOCK_WAIT_MS) == 1
        engine.locked.clear()
        return await submit_all(queue, reserves_of(locked, price, 1))

    assert run(story) == [GRANTED]


def test_a_lock_beside_the_account_is_found_by_halves(accounts, price):
    """The account itself is free then, so no probe can find it."""

    async def story(queue, engine):
        engine.rows_locked.add(accounts[5].id.hex)
        asking = submit_each(queue, reserves_of_each(accounts, price))
        results = await asyncio.gather(*asking[:10], *asking[12:])
        assert not any(one.done() for one in asking[10:12])
        engine.rows_locked.clear()
        return results + list(await asyncio.gather(*asking[10:12]))

    assert run(story) == [GRANTED] * 2 * MANY_ACCOUNTS


def test_locked_accounts_wait_for_a_database_that_went_away(accounts, price):
    async def story(queue, engine):
        engine.locked.add(accounts[0].id.hex)
        asking = await begun(queue, engine, reserves_of(accounts[0], price, 1)[0])
        engine.is_unreachable = True
        await engine.probed(2)
        engine.is_unreachable = False
        engine.locked.clear()
        return await asking

    assert run(story) == GRANTED


def test_who_waits_in_vain_is_told_in_time_and_owes_nothing(accounts, price):
    locked = accounts[0]

    async def story(queue, engine):
        running, asking = reserves_of(locked, price, 2)
        await queue.submit(running, AMPLE_S)
        engine.locked.add(locked.id.hex)
        for one in (asking, make_settle(running, 7)):
            with pytest.raises(CommitFailed):
                await queue.submit(one, SOON_S)
        assert await submit_all(queue, reserves_of(accounts[1], price, 1)) == [GRANTED]
        engine.locked.clear()

    run(story)
    assert sums(locked) == (1000, 0)
    assert ApiRequest.objects.get().outcome == "lost"
    assert list(reconcile.differences()) == []


def test_log_rows_of_a_locked_account_are_written_later(accounts, price):
    async def story(queue, engine):
        engine.locked.add(accounts[0].id.hex)
        queue.log_soon(log_of_a_refusal(accounts[0], price))
        queue.log_soon(log_of_a_refusal(accounts[1], price))
        await submit_all(queue, reserves_of(accounts[1], price, 1))
        engine.locked.clear()

    run(story)
    assert ApiRequest.objects.count() == 2


def test_those_who_wait_for_a_lock_have_their_place_in_the_queue(accounts, price):
    async def story(queue, engine):
        engine.locked.add(accounts[0].id.hex)
        asking = submit_each(queue, reserves_of(accounts[0], price, 4))
        await engine.probed(2)  # The first has found the lock, so they are set apart.
        with pytest.raises(QueueFull):
            await queue.submit(reserves_of(accounts[1], price, 1)[0], AMPLE_S)
        engine.locked.clear()
        return await asyncio.gather(*asking)

    assert run(story, size=4) == [GRANTED] * 4


def test_a_poisoned_operation_beside_a_locked_account_fails_alone(accounts, price):
    locked, other = accounts[:2]
    poison = dataclasses.replace(reserves_of(other, price, 1)[0], price_version_id=uuid7().hex)

    async def story(queue, engine):
        engine.locked.add(locked.id.hex)
        asking = submit_each(
            queue, [*reserves_of(locked, price, 2), poison, *reserves_of(other, price, 2)]
        )
        failure, *granted = await asyncio.gather(*asking[2:], return_exceptions=True)
        engine.locked.clear()
        return failure, granted, await asyncio.gather(*asking[:2])

    failure, granted, late = run(story)
    assert isinstance(failure, CommitFailed)
    assert granted == late == [GRANTED] * 2


def test_a_queue_closes_while_an_account_is_locked(accounts, price, monkeypatch, caplog):
    monkeypatch.setattr(commit_queue, "CLOSE_WITHIN_S", SOON_S)

    async def story(queue, engine):
        engine.locked.add(accounts[0].id.hex)
        queue.log_soon(log_of_a_refusal(accounts[0], price))
        await submit_all(queue, reserves_of(accounts[1], price, 1))

    run(story)
    assert "1 operations are left" in caplog.text


# --- Of Postgres' own ----------------------------------------------------------------------------

only_postgres = pytest.mark.skipif(not on_postgres, reason="SQLite locks no single account")


@asynccontextmanager
async def locked_by_another(sql: str, row_id):
    async with await connect() as session, session.transaction():
        await session.execute(sql, [row_id])
        yield


ADMISSION_S = 2
ACCOUNT = "SELECT 1 FROM billing_creditaccount WHERE id = %s FOR UPDATE"
PRICE = "SELECT 1 FROM billing_priceversion WHERE id = %s FOR UPDATE"


@only_postgres
def test_a_session_that_holds_an_account_stops_nobody_else(accounts, price):
    locked, other = accounts[:2]

    async def story(queue, engine):
        running = reserves_of(locked, price, 1) + reserves_of(other, price, 1)
        await submit_all(queue, running)
        pid = engine.real._connection.info.backend_pid
        async with locked_by_another(ACCOUNT, locked.id):
            began = time.monotonic()
            waiting = submit_each(
                queue, [make_settle(running[0], 7), *reserves_of(locked, price, 1)]
            )
            for _ in range(3):
                settle, *more = make_settle(running[1], 5), *reserves_of(other, price, 1)
                assert await submit_all(queue, [settle, *more]) == [5, GRANTED]
            took_s = time.monotonic() - began
            assert not any(one.done() for one in waiting)
        late = await asyncio.gather(*waiting)
        return took_s, late, engine.real._connection.info.backend_pid == pid

    took_s, late, kept_its_connection = run(story)
    assert late == [7, GRANTED]
    assert took_s < 1.5  # Each reservation waits two seconds at the most.
    assert kept_its_connection
    assert [sums(one) for one in (locked, other)] == [(993, 10), (995, 30)]


@only_postgres
def test_a_lock_that_only_the_commit_meets_holds_up_its_own_account_alone(accounts, price):
    """Foreign keys are checked last: there the row of a price may be what is locked."""
    locked, other = accounts[:2]
    its_price = make_price()

    async def story(queue, engine):
        async with locked_by_another(PRICE, its_price.id):
            waiting = submit_each(queue, reserves_of(locked, its_price, 2))
            assert await submit_all(queue, reserves_of(other, price, 2)) == [GRANTED] * 2
            assert not any(one.done() for one in waiting)
        return await asyncio.gather(*waiting)

    assert run(story) == [GRANTED] * 2
    assert Hold.objects.count() == 4


LOCKED = 12
ROUNDS = 10
REQUESTS = 200


@only_postgres
def test_12_locked_accounts_starve_nobody(accounts, price):
    """200 requests of free accounts, as many with none locked in between: none is refused."""
    locked, free = accounts[:LOCKED], accounts[LOCKED:]
    undisturbed_s, beside_s = [], []

    async def timed(queue, account):
        began = time.monotonic()
        (reserve,) = reserves_of(account, price, 1)
        assert await queue.submit(reserve, ADMISSION_S) == GRANTED
        assert await queue.submit(make_settle(reserve, 0, outcome="empty"), ADMISSION_S) == 0
        return time.monotonic() - began

    async def ask(queue):
        each = REQUESTS // ROUNDS // len(free)
        return [
            took_s
            for _ in range(each)
            for took_s in await asyncio.gather(*(timed(queue, one) for one in free))
        ]

    async def story(queue, engine):
        async with AsyncExitStack() as open_ones:
            connections = [await connect() for _ in locked]
            sessions = [await open_ones.enter_async_context(one) for one in connections]
            for _ in range(ROUNDS):
                undisturbed_s.extend(await ask(queue))
                async with AsyncExitStack() as locks:
                    for session, one in zip(sessions, locked, strict=True):
                        await locks.enter_async_context(session.transaction())
                        await session.execute(ACCOUNT, [one.id])
                    waiting = submit_each(queue, reserves_of_each(locked, price))
                    beside_s.extend(await ask(queue))
                assert set(await asyncio.gather(*waiting)) == {GRANTED}

    run(story)
    assert len(beside_s) == REQUESTS
    assert statistics.median(beside_s) < 2 * statistics.median(undisturbed_s)
    assert {sums(one) for one in free} == {(1000, 0)}
