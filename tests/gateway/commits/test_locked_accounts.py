"""An account that another session has locked holds up its own operations and nobody else's."""

import asyncio
import dataclasses
import time
from contextlib import asynccontextmanager

import pytest

from accounts.ids import uuid7
from billing.ledger import Grant
from billing.models import Hold
from gateway.commits import queue as commit_queue
from gateway.commits import reconcile
from gateway.commits.postgres import LOCK_WAIT_MS, connect
from gateway.commits.queue import PROBE_MS, CommitFailed, QueueFull
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
    assert lock_waits_ms[:9] == [LOCK_WAIT_MS, *[PROBE_MS] * 8]  # It is found by halves.
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


def test_it_waits_longer_each_time_and_begins_anew(accounts, price):
    async def story(queue, engine):
        engine.locked.add(accounts[0].id.hex)
        (asking,) = submit_each(queue, reserves_of(accounts[0], price, 1))
        delays_s = []

        def now_rather_than_later(delay_s, retry):
            delays_s.append(delay_s)
            if len(engine.batches) == 9:
                engine.locked.clear()
            queue._due.append(retry)

        queue._call_later = now_rather_than_later
        return await asking, engine.lock_waits_ms, delays_s

    result, lock_waits_ms, delays_s = run(story)
    assert result == GRANTED
    assert lock_waits_ms == [200, 5, 10, 20, 40, 80, 160, 200, 5, 10]
    assert delays_s == [4 * wait_ms / 1000 for wait_ms in lock_waits_ms[1:]]


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
        await asyncio.sleep(SOON_S)
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
