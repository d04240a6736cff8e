"""One operation that the database refuses: all others are written, and its undoing isn't lost."""

import asyncio
from contextlib import contextmanager

import pytest
from django.db import connection, connections

from billing.ledger import Grant
from billing.models import Hold
from gateway.commits import queue as commit_queue
from gateway.commits.queue import CommitFailed
from gateway.models import ApiRequest
from gateway.serving import metrics
from tests.support.books import differences, sums
from tests.support.factories import make_account, make_content, make_price, make_settle
from tests.support.gateway.watched_engine import (
    AMPLE_S,
    SOON_S,
    on_postgres,
    reserves_of,
    run,
    submit_all,
)

# Raised for one row. In Python some of these are OperationalError, as a lost connection is.
REFUSING = {
    "sqlite": """
        CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN NEW.id = '{id}'
        BEGIN SELECT RAISE(ABORT, 'refused'); END
    """,
    "postgresql": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW
        WHEN (NEW.id = '{id}') EXECUTE FUNCTION refuse()
    """,
}
NO_MORE = "DROP FUNCTION refuse CASCADE" if on_postgres else "DROP TRIGGER refuse"


@contextmanager
def refused(table: str, request_id: str, code: str = "54000"):
    """In the block no row of this request can be inserted."""
    with connection.cursor() as cursor:
        sql = REFUSING[connection.vendor]
        cursor.execute(sql.format(table=table, id=request_id, code=code))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(NO_MORE)


@pytest.fixture(autouse=True)
def _tries_again_soon(monkeypatch):
    monkeypatch.setattr(commit_queue, "RETRY_S", SOON_S)
    monkeypatch.setattr(commit_queue, "MOST_RETRY_S", 4 * SOON_S)


@pytest.fixture
def account(committed_books):
    return make_account(balance_nano=100_000, unlimited=True)


@pytest.fixture
def price(committed_books):
    return make_price()


# 54000: the statement is too complex, psycopg's OperationalError. XX000: an error inside Postgres.
@pytest.mark.parametrize("code", ["54000", "XX000"] if on_postgres else [""])
def test_an_error_of_any_kind_fails_one_operation_and_not_its_batch(account, price, code):
    reserves = reserves_of(account, price, 5)

    async def story(queue, engine):
        return await submit_all(queue, reserves)

    with refused("billing_hold", reserves[2].request_id, code):
        results = run(story)
    assert isinstance(results.pop(2), CommitFailed)
    assert results == [Grant(10, 0)] * 4
    assert sums(account) == (100_000, 40)


def test_a_settlement_that_is_refused_leaves_no_hold_behind(account, price):
    reserve, other = reserves_of(account, price, 2)

    async def story(queue, engine):
        await submit_all(queue, [reserve, other])
        with_content = make_settle(reserve, 7, content=make_content())
        return await submit_all(queue, [with_content, make_settle(other, 100, prompt_tokens=1)])

    with refused("gateway_requestcontent", reserve.request_id):
        failure, charged = run(story)
    assert isinstance(failure, CommitFailed)
    assert charged == 10
    assert not Hold.objects.exists()
    assert sums(account) == (99_990, 0)
    assert ApiRequest.objects.get(pk=reserve.request_id).outcome == "lost"
    assert differences(reserve.now) == []


def test_an_undoing_that_is_refused_is_kept_and_counted_until_it_is_written(
    account, price, caplog, monkeypatch
):
    (reserve,) = reserves_of(account, price, 1)
    refusal = refused("gateway_apirequest", reserve.request_id)

    async def story(queue, engine):
        monkeypatch.setattr(commit_queue, "_queue", queue)
        await submit_all(queue, [reserve])
        await elsewhere(refusal.__enter__)
        await submit_all(queue, [make_settle(reserve, 7)])
        await until(lambda: caplog.text.count("Reverse of request") > 2)
        assert queue.refused == queue.depth == 1
        assert "kyma_undo_refused 1.0" in metrics.text().decode()
        assert queue.silent_s == 0  # The database does answer.
        assert await submit_all(queue, reserves_of(account, price, 1)) == [Grant(10, 0)]
        await elsewhere(refusal.__exit__, None, None, None)
        await until(lambda: not queue.depth)
        assert "kyma_undo_refused 0.0" in metrics.text().decode()

    run(story)
    assert not Hold.objects.filter(pk=reserve.request_id).exists()
    assert sums(account) == (100_000, 10)
    assert ApiRequest.objects.get().outcome == "lost"


def test_a_queue_that_closes_says_what_it_could_not_undo(account, price, caplog):
    (reserve,) = reserves_of(account, price, 1)

    async def story(queue, engine):
        await submit_all(queue, [reserve])
        await elsewhere(refusal.__enter__)
        await submit_all(queue, [make_settle(reserve, 7)])
        await until(lambda: queue.refused)

    refusal = refused("gateway_apirequest", reserve.request_id)
    run(story)
    refusal.__exit__(None, None, None)
    assert "closed with 1 undoings that the database refuses" in caplog.text


async def elsewhere(function, *arguments) -> None:
    """Call `function` in a thread with a connection of its own: the loop's may use none."""

    def whole() -> None:
        function(*arguments)
        connections.close_all()

    await asyncio.to_thread(whole)


async def until(is_so) -> None:
    async with asyncio.timeout(AMPLE_S):
        while not is_so():  # noqa: ASYNC110 - nothing else says so
            await asyncio.sleep(SOON_S)
