"""Group commit when the database fails or is slow, and when nobody waits any more."""

import asyncio
from types import SimpleNamespace

import pytest
from django.db import connection

from billing.ledger import Grant
from billing.models import Hold, LedgerEntry
from gateway.commits import queue as commit_queue
from gateway.commits import reconcile
from gateway.commits.postgres import PostgresEngine, connect, is_direct
from gateway.commits.queue import MAX_BATCH, CommitFailed, QueueFull
from gateway.commits.sql import NAMES, statement
from gateway.models import ApiRequest
from tests.support.books import sums
from tests.support.factories import make_account, make_price, make_settle
from tests.support.gateway.watched_engine import (
    AMPLE_S,
    SOON_S,
    begun,
    log_of_a_refusal,
    on_postgres,
    pass_time,
    reserves_of,
    run,
    submit_all,
)


@pytest.fixture(autouse=True)
def _tries_again_soon(monkeypatch):
    monkeypatch.setattr(commit_queue, "RETRY_S", SOON_S)


only_postgres = pytest.mark.skipif(
    not on_postgres, reason="SQLite has no server that could close a connection"
)


@pytest.fixture
def account(committed_books):
    return make_account(balance_nano=100_000, unlimited=True)


@pytest.fixture
def price(committed_books):
    return make_price()


def outcomes() -> list[str]:
    return list(ApiRequest.objects.values_list("outcome", flat=True))


def nothing_was_charged(account) -> None:
    assert sums(account) == (100_000, 0)
    assert not Hold.objects.exists()
    assert outcomes() == ["lost"]
    assert list(reconcile.differences()) == []


# --- The database out of reach -------------------------------------------------------------------


def test_a_commit_whose_fate_is_unknown_is_repeated_and_counts_once(account, price):
    async def story(queue, engine):
        settled, released = reserves_of(account, price, 2)
        await submit_all(queue, [settled, released])
        engine.answers_to_lose = 1
        more = reserves_of(account, price, 3)
        return await submit_all(
            queue,
            [make_settle(settled, 7), *more, log_of_a_refusal(account, price)],
        )

    assert run(story) == [7, *[Grant(10, 0)] * 3, None]
    assert sums(account) == (99_993, 40)
    assert LedgerEntry.objects.filter(kind="usage").count() == 1
    assert ApiRequest.objects.count() == 2
    assert Hold.objects.count() == 4


def test_without_a_database_all_fail_and_none_is_tried_alone(account, price, caplog):
    async def story(queue, engine):
        engine.is_unreachable = True
        results = await submit_all(queue, reserves_of(account, price, 5))
        engine.is_unreachable = False
        return results, engine.batches, await submit_all(queue, reserves_of(account, price, 1))

    failures, batches, later = run(story)
    assert [type(one) for one in failures] == [CommitFailed] * 5
    assert batches[:2] == [5, 5]
    assert later == [Grant(10, 0)]
    assert "commit failed: OperationalError, 5 operations" in caplog.text


async def close_from_the_server(engine):
    pid = engine.real._connection.info.backend_pid
    async with await connect() as other:
        await other.execute("SELECT pg_terminate_backend(%s)", [pid])


@only_postgres
def test_it_connects_again_after_the_server_closed_the_connection(account, price):
    async def story(queue, engine):
        reserve = reserves_of(account, price, 1)[0]
        await queue.submit(reserve, AMPLE_S)
        await close_from_the_server(engine)
        return await submit_all(queue, [make_settle(reserve, 4), *reserves_of(account, price, 3)])

    assert run(story) == [4, *[Grant(10, 0)] * 3]
    assert sums(account) == (99_996, 30)


@only_postgres
def test_statements_that_a_pooler_has_lost_are_prepared_no_more(account, price):
    counting = ("SELECT count(*) FROM pg_prepared_statements", None)

    async def story(queue, engine):
        reserve = reserves_of(account, price, 1)[0]
        await queue.submit(reserve, AMPLE_S)
        (prepared,) = await engine.real._line.ask([counting])
        await engine.real._line.ask([("DEALLOCATE ALL", None)])
        results = await submit_all(
            queue, [make_settle(reserve, 4), *reserves_of(account, price, 3)]
        )
        (since,) = await engine.real._line.ask([counting])
        return prepared, results, since

    prepared, results, since = run(story)
    assert (prepared, since) == ([(len(NAMES),)], [(0,)])
    assert results == [4, *[Grant(10, 0)] * 3]
    assert sums(account) == (99_996, 30)


@only_postgres
def test_a_pooler_is_told_by_a_process_that_the_server_does_not_know(committed_books):
    async def story():
        async with await connect() as server:
            pooler = SimpleNamespace(
                execute=server.execute,
                pgconn=SimpleNamespace(backend_pid=server.info.backend_pid + 1),
            )
            return await is_direct(server), await is_direct(pooler)

    assert asyncio.run(story()) == (True, False)


@only_postgres
def test_a_connect_timeout_of_the_operator_is_kept(committed_books, monkeypatch):
    async def story():
        async with await connect() as opened:
            return opened.info.get_parameters()["connect_timeout"]

    assert asyncio.run(story()) == "2"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "connect_timeout", 7)
    assert asyncio.run(story()) == "7"


@only_postgres
def test_logging_a_request_never_waits_for_an_account_that_another_process_has_locked(
    committed_books, account, price, monkeypatch
):
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", "-c lock_timeout=2s")

    async def story():
        logger = PostgresEngine()
        async with await connect() as locker, locker.transaction():
            sql = statement("lock_accounts", "postgresql")
            await locker.execute(sql, [f'[{{"id": "{account.id.hex}"}}]'])
            await logger.run([log_of_a_refusal(account, price)])
        await logger.close()

    asyncio.run(story())
    assert ApiRequest.objects.count() == 1


# --- Timeouts and hang-ups -----------------------------------------------------------------------


def test_a_reservation_that_commits_too_late_is_released(account, price):
    async def story(queue, engine):
        engine.may_return.clear()
        asking = await begun(queue, engine, reserves_of(account, price, 1)[0])
        await engine.committed.wait()
        pass_time(AMPLE_S)
        with pytest.raises(CommitFailed):
            await asking

    run(story)
    assert not Hold.objects.exists()
    assert sums(account) == (100_000, 0)


def test_a_reservation_given_up_before_its_turn_is_never_written(account, price):
    async def story(queue, engine):
        engine.may_start.clear()
        first = await begun(queue, engine, reserves_of(account, price, 1)[0])
        with pytest.raises(CommitFailed):
            await queue.submit(reserves_of(account, price, 1)[0], SOON_S)
        engine.may_start.set()
        await first
        return engine.batches

    assert run(story) == [1]
    assert sums(account) == (100_000, 10)


def test_a_reservation_whose_client_hung_up_is_released(account, price):
    async def story(queue, engine):
        engine.may_return.clear()
        asking = asyncio.create_task(queue.submit(reserves_of(account, price, 1)[0], AMPLE_S))
        await engine.committed.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(story)
    assert not Hold.objects.exists()
    assert sums(account) == (100_000, 0)


def test_a_refused_reservation_that_nobody_waits_for_needs_no_release(price):
    account = make_account()

    async def story(queue, engine):
        engine.may_return.clear()
        asking = await begun(queue, engine, reserves_of(account, price, 1)[0])
        pass_time(AMPLE_S)
        with pytest.raises(CommitFailed):
            await asking
        return engine.batches

    assert run(story) == [1]


def test_a_settlement_whose_client_hung_up_is_written(account, price):
    async def story(queue, engine):
        reserve = reserves_of(account, price, 1)[0]
        await queue.submit(reserve, AMPLE_S)
        engine.may_start.clear()
        settling = asyncio.create_task(queue.submit(make_settle(reserve, 5), AMPLE_S))
        await asyncio.sleep(0)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling

    run(story)
    assert sums(account) == (99_995, 0)


def test_a_settlement_that_commits_too_late_is_given_back(account, price):
    async def story(queue, engine):
        reserve = reserves_of(account, price, 1)[0]
        await queue.submit(reserve, AMPLE_S)
        engine.committed.clear()
        engine.may_return.clear()
        settling = await begun(queue, engine, make_settle(reserve, 7, finish_reason="length"))
        await engine.committed.wait()
        pass_time(AMPLE_S)
        with pytest.raises(CommitFailed):
            await settling

    run(story)
    nothing_was_charged(account)
    assert LedgerEntry.objects.filter(kind="reversal").count() == 1


def test_a_settlement_given_up_before_its_turn_is_never_written(account, price):
    async def story(queue, engine):
        first, second = reserves_of(account, price, 2)
        await submit_all(queue, [first, second])
        engine.may_start.clear()
        begun_first = await begun(queue, engine, make_settle(first, 7))
        with pytest.raises(CommitFailed):
            await queue.submit(make_settle(second, 7), SOON_S)
        engine.may_start.set()
        assert await begun_first == 7

    run(story)
    assert sums(account) == (99_993, 0)
    assert not LedgerEntry.objects.filter(kind="reversal").exists()
    assert sorted(outcomes()) == ["finished", "lost"]


# --- A fate that nobody knows --------------------------------------------------------------------


@pytest.mark.parametrize("lost", [2, 4, 5])
def test_a_settlement_whose_connection_is_lost_again_and_again_is_given_back(account, price, lost):
    async def story(queue, engine):
        reserve = reserves_of(account, price, 1)[0]
        await queue.submit(reserve, AMPLE_S)
        engine.answers_to_lose = lost
        with pytest.raises(CommitFailed):
            await queue.submit(make_settle(reserve, 7, prompt_tokens=1), AMPLE_S)

    run(story)
    nothing_was_charged(account)
    assert LedgerEntry.objects.filter(kind="reversal").count() == 1


def test_a_settlement_that_was_never_written_leaves_no_hold_once_the_database_is_back(
    account, price
):
    async def story(queue, engine):
        reserve = reserves_of(account, price, 1)[0]
        await queue.submit(reserve, AMPLE_S)
        engine.is_unreachable = True
        with pytest.raises(CommitFailed):
            await queue.submit(make_settle(reserve, 7), AMPLE_S)
        engine.is_unreachable = False

    run(story)
    nothing_was_charged(account)


def test_a_reservation_whose_connection_is_lost_twice_is_released(account, price):
    async def story(queue, engine):
        engine.answers_to_lose = 2
        with pytest.raises(CommitFailed):
            await queue.submit(reserves_of(account, price, 1)[0], AMPLE_S)

    run(story)
    assert not Hold.objects.exists()
    assert sums(account) == (100_000, 0)


def test_what_is_kept_without_a_database_has_its_place_in_the_queue(account, price):
    async def story(queue, engine):
        engine.is_unreachable = True
        await submit_all(queue, reserves_of(account, price, 4))
        full = queue.depth
        with pytest.raises(QueueFull):
            await queue.submit(reserves_of(account, price, 1)[0], AMPLE_S)
        engine.is_unreachable = False
        return full

    assert run(story, size=4) == 4


def test_without_a_database_one_operation_asks_for_it_again(account, price):
    async def story(queue, engine):
        engine.is_unreachable = True
        await submit_all(queue, reserves_of(account, price, MAX_BATCH + 9))
        engine.batches.clear()
        for _ in range(4):
            engine.began.clear()
            await engine.began.wait()
        engine.is_unreachable = False
        await queue.close()
        return set(engine.batches[:-2]), engine.batches[-2:]

    assert run(story) == ({1}, [MAX_BATCH, 8])
    assert not Hold.objects.exists()


def test_what_is_kept_fails_nobody_else(account, price):
    """What makes the connection break each time is tried again by itself."""

    async def story(queue, engine):
        poison = reserves_of(account, price, 1)[0]
        engine.breaks_at = poison.request_id
        with pytest.raises(CommitFailed):
            await queue.submit(poison, AMPLE_S)
        results = []
        for _ in range(20):
            results += await submit_all(queue, reserves_of(account, price, 3))
            await asyncio.sleep(SOON_S)
        engine.breaks_at = None
        return results

    assert run(story) == [Grant(10, 0)] * 60


def test_a_queue_closes_without_its_database(account, price, monkeypatch, caplog):
    monkeypatch.setattr(commit_queue, "CLOSE_WITHIN_S", 10 * SOON_S)

    async def story(queue, engine):
        engine.is_unreachable = True
        await submit_all(queue, reserves_of(account, price, 3))

    run(story)
    assert "closed without the database: 3 operations are left" in caplog.text


def test_a_queue_closes_while_its_database_is_silent(account, price, monkeypatch):
    monkeypatch.setattr(commit_queue, "CLOSE_WITHIN_S", SOON_S)

    async def story(queue, engine):
        engine.may_start.clear()
        asking = await begun(queue, engine, reserves_of(account, price, 1)[0])
        await queue.close()
        asking.cancel()
        return engine.batches

    assert run(story) == [1]


def test_log_rows_that_are_lost_with_the_database_are_counted(account, price):
    async def story(queue, engine):
        engine.is_unreachable = True
        queue.log_soon(log_of_a_refusal(account, price))
        await submit_all(queue, reserves_of(account, price, 1))
        engine.is_unreachable = False
        return queue.dropped

    assert run(story) == 1
