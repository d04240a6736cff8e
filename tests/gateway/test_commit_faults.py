"""Group commit when the database fails or is slow, and when nobody waits any more."""

import asyncio
from types import SimpleNamespace

import pytest
from django.db import connection

from billing.ledger import Grant
from billing.models import Hold, LedgerEntry
from gateway.commit_queue import CommitFailed
from gateway.models import ApiRequest
from gateway.postgres_engine import PostgresEngine, connect, is_direct
from gateway.sql import NAMES, statement
from tests.books import sums
from tests.factories import make_account, make_price, make_settle
from tests.gateway.watched_engine import (
    AMPLE_S,
    SOON_S,
    begun,
    on_postgres,
    pass_time,
    refused_record,
    reserves_of,
    run,
    submit_all,
)

only_postgres = pytest.mark.skipif(
    not on_postgres, reason="SQLite has no server that could close a connection"
)


@pytest.fixture
def account(committed_books):
    return make_account(balance_nano=100_000, unlimited=True)


@pytest.fixture
def price(committed_books):
    return make_price()


# --- The database out of reach -------------------------------------------------------------------


def test_a_commit_whose_fate_is_unknown_is_repeated_and_counts_once(account, price):
    async def story(queue, engine):
        settled, released = reserves_of(account, price, 2)
        await submit_all(queue, [settled, released])
        engine.answers_to_lose = 1
        more = reserves_of(account, price, 3)
        return await submit_all(
            queue,
            [make_settle(settled, 7), *more, refused_record(account, price)],
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

    assert asyncio.run(story()) == "3"
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
            await logger.run([refused_record(account, price)])
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
