"""Group commit with real commits: what shares a transaction, what fails, what waits."""

import asyncio
import dataclasses
import uuid

import pytest

from accounts.ids import uuid7
from billing.errors import InsufficientCredit
from billing.ledger import Grant
from gateway.commits import queue as commit_queue
from gateway.commits import reconcile
from gateway.commits.operations import HoldClosed, Log
from gateway.commits.queue import MAX_BATCH, MAX_BATCH_BYTES, CommitFailed, CommitQueue, QueueFull
from gateway.models import ApiRequest, RequestContent
from tests.support.books import sums
from tests.support.factories import (
    make_account,
    make_ask,
    make_content,
    make_key,
    make_price,
    make_record,
    make_reserve,
    make_settle,
)
from tests.support.gateway.watched_engine import (
    AMPLE_S,
    SOON_S,
    WatchedEngine,
    begun,
    log_of_a_refusal,
    reserves_of,
    run,
    submit_all,
)


@pytest.fixture
def account(committed_books):
    return make_account(balance_nano=100_000, unlimited=True)


@pytest.fixture
def price(committed_books):
    return make_price()


# --- Group commit --------------------------------------------------------------------------------


def test_operations_that_wait_together_share_a_transaction(account, price):
    async def story(queue, engine):
        return await submit_all(queue, reserves_of(account, price, 100)), engine.batches

    results, batches = run(story)
    assert results == [Grant(10, 0)] * 100
    assert batches == [100]
    assert sums(account) == (100_000, 1000)


def test_what_arrives_during_a_commit_shares_the_next(account, price):
    async def story(queue, engine):
        engine.may_return.clear()
        first = asyncio.create_task(queue.submit(reserves_of(account, price, 1)[0], AMPLE_S))
        await engine.committed.wait()
        others = submit_all(queue, reserves_of(account, price, 50))
        await asyncio.sleep(0)
        engine.may_return.set()
        await asyncio.gather(first, others)
        return engine.batches

    assert run(story) == [1, 50]


def test_a_batch_has_a_largest_size(account, price):
    async def story(queue, engine):
        await submit_all(queue, reserves_of(account, price, MAX_BATCH + 10))
        return engine.batches

    assert run(story) == [MAX_BATCH, 10]


def test_a_batch_has_no_more_content_than_fits_a_statement(account, price):
    async def story(queue, engine):
        reserves = reserves_of(account, price, 3)
        await submit_all(queue, reserves)
        large = make_content(bytes(MAX_BATCH_BYTES))
        await submit_all(queue, [make_settle(one, 0, content=large) for one in reserves])
        return engine.batches

    assert run(story) == [3, 1, 1, 1]


CONTENT = bytes(3000)  # 4,000 bytes as base64 text.


@pytest.mark.parametrize("is_known_before", [False, True], ids=["first", "again"])
def test_content_that_waits_is_bounded_and_what_is_beyond_is_charged_without(
    account, price, is_known_before
):
    async def story(queue, engine):
        for _ in range(1 + is_known_before):  # The room is there again once all is written.
            reserves = reserves_of(account, price, 4)
            await submit_all(queue, reserves)
            engine.may_start.clear()
            settles = [make_settle(one, 5, content=make_content(CONTENT)) for one in reserves]
            settling = submit_all(queue, settles)
            await asyncio.sleep(0)
            engine.may_start.set()
            assert await settling == [5] * 4
        return [one.record.id for one in settles]

    ids = run(story, content_bytes=10_000)
    rows = ApiRequest.objects.in_bulk(ids)
    marks = [rows[uuid.UUID(one)].content_left_out for one in ids]
    assert marks == ["", "", "busy", "busy"]
    kept = RequestContent.objects.filter(pk__in=ids)
    assert [one.hex in ids[:2] for one in kept.values_list("id", flat=True)] == [True, True]


def test_what_was_given_up_keeps_no_content_in_memory(account, price):
    async def story(queue, engine):
        (reserve,) = reserves_of(account, price, 1)
        await queue.submit(reserve, AMPLE_S)
        engine.may_start.clear()
        await begun(queue, engine, log_of_a_refusal(account, price))
        settle = make_settle(reserve, 5, content=make_content(CONTENT))
        with pytest.raises(CommitFailed):
            await queue.submit(settle, SOON_S)
        assert settle.content is None

    run(story)
    assert not RequestContent.objects.exists()


def test_a_request_from_reservation_to_receipt(account, price):
    key = make_key(account.user)[0]

    async def story(queue, engine):
        reserve = make_reserve(account, price, make_ask(1000), key=key)
        grant = await queue.submit(reserve, AMPLE_S)
        return grant, await queue.submit(make_settle(reserve, 300, prompt_tokens=3), AMPLE_S)

    assert run(story) == (Grant(1000, 0), 300)
    assert sums(account) == (99_700, 0)
    assert list(reconcile.differences()) == []


def test_refusals_reach_those_who_asked(price):
    account = make_account(balance_nano=15)

    async def story(queue, engine):
        lost = make_settle(make_reserve(account, price, make_ask()), 1)
        return await submit_all(queue, [*reserves_of(account, price, 2), lost])

    grant, refusal, late = run(story)
    assert grant == Grant(10, 0)
    assert isinstance(refusal, InsufficientCredit)
    assert isinstance(late, HoldClosed)


def test_two_processes_never_spend_the_same_credit(committed_books, price):
    account = make_account(balance_nano=100, unlimited=True)

    async def story():
        queues = [CommitQueue(WatchedEngine(), 1000) for _ in range(2)]
        rounds = [submit_all(queue, reserves_of(account, price, 40)) for queue in queues]
        results = await asyncio.gather(*rounds)
        for queue in queues:
            await queue.close()
        return [one for results_of_one in results for one in results_of_one]

    results = asyncio.run(story())
    assert results.count(Grant(10, 0)) == 10
    assert sum(isinstance(one, InsufficientCredit) for one in results) == 70
    assert sums(account) == (100, 100)


# --- An operation that fails, fails alone --------------------------------------------------------


def unknown_price(reserve):
    return dataclasses.replace(reserve, price_version_id=uuid7().hex)


def negative_tokens(reserve):
    return Log(make_record(reserve, outcome="refused", prompt_tokens=-1))


@pytest.mark.parametrize("poison", [unknown_price, negative_tokens])
def test_a_poisoned_operation_fails_alone(account, price, poison, caplog):
    async def story(queue, engine):
        reserves = reserves_of(account, price, 5)
        reserves[2] = poison(reserves[2])
        return await submit_all(queue, reserves), engine.batches

    results, batches = run(story)
    assert isinstance(results.pop(2), CommitFailed)
    assert results == [Grant(10, 0)] * 4
    assert batches == [5, 1, 1, 1, 1, 1]
    assert sums(account) == (100_000, 40)
    assert "failed: IntegrityError" in caplog.text or "Violation" in caplog.text


def test_a_poisoned_operation_leaves_the_connection_usable(account, price):
    async def story(queue, engine):
        (failure,) = await submit_all(queue, [unknown_price(reserves_of(account, price, 1)[0])])
        return failure, await submit_all(queue, reserves_of(account, price, 3))

    failure, results = run(story)
    assert isinstance(failure, CommitFailed)
    assert results == [Grant(10, 0)] * 3


# --- Bounds --------------------------------------------------------------------------------------


def test_a_full_queue_refuses(account, price):
    async def story(queue, engine):
        engine.may_start.clear()
        reserves = reserves_of(account, price, 6)
        tasks = [await begun(queue, engine, reserves[0])]
        tasks += [asyncio.create_task(queue.submit(one, AMPLE_S)) for one in reserves[1:5]]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await queue.submit(reserves[5], AMPLE_S)
        engine.may_start.set()
        return await asyncio.gather(*tasks)

    assert run(story, size=4) == [Grant(10, 0)] * 5


def test_log_rows_are_the_first_to_be_dropped_and_are_counted(account, price):
    async def story(queue, engine):
        engine.may_start.clear()
        for _ in range(5):
            queue.log_soon(log_of_a_refusal(account, price))
        booking = asyncio.create_task(queue.submit(reserves_of(account, price, 1)[0], AMPLE_S))
        await asyncio.sleep(0)
        engine.may_start.set()
        await booking
        return queue.dropped

    assert run(story, size=4) == 3
    assert ApiRequest.objects.count() == 2


def test_a_log_row_that_cannot_be_written_disturbs_nobody(account, price, caplog):
    async def story(queue, engine):
        queue.log_soon(negative_tokens(make_reserve(account, price, make_ask())))
        queue.log_soon(log_of_a_refusal(account, price))
        return await submit_all(queue, reserves_of(account, price, 1))

    assert run(story) == [Grant(10, 0)]
    assert ApiRequest.objects.count() == 1


# --- Closing -------------------------------------------------------------------------------------


def test_a_reservation_that_is_cancelled_as_it_is_granted_is_released(account, price, monkeypatch):
    async def story(queue, engine):
        asking = asyncio.create_task(queue.submit(reserves_of(account, price, 1)[0], AMPLE_S))
        resolve = queue._resolve

        def resolve_and_cancel(one, result):
            resolve(one, result)
            asking.cancel()

        monkeypatch.setattr(queue, "_resolve", resolve_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await asking
        monkeypatch.undo()

    run(story)
    assert sums(account) == (100_000, 0)


def test_closing_writes_what_waits(account, price):
    async def story(queue, engine):
        queue.log_soon(log_of_a_refusal(account, price))
        booking = asyncio.create_task(queue.submit(reserves_of(account, price, 1)[0], AMPLE_S))
        await asyncio.sleep(0)
        return booking

    assert run(story).result() == Grant(10, 0)
    assert ApiRequest.objects.count() == 1


def test_a_queue_that_was_never_used_closes(committed_books):
    async def story(queue, engine):
        return engine.batches

    assert run(story) == []


def test_the_queue_of_the_process_begins_anew_after_it_was_closed(committed_books, account, price):
    async def story():
        queue = commit_queue.queue()
        assert queue is commit_queue.queue()
        results = await submit_all(queue, reserves_of(account, price, 2))
        await commit_queue.close()
        await commit_queue.close()
        return results

    for _ in range(2):
        assert asyncio.run(story()) == [Grant(10, 0)] * 2
    assert sums(account) == (100_000, 40)
