"""A hold is granted before it is durable: the provider is asked meanwhile, and nothing leaves."""

import asyncio
import datetime as dt

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from billing.errors import InsufficientCredit
from billing.ledger import Grant
from billing.models import CreditAccount, Hold
from gateway.commits import leases
from gateway.commits import queue as commit_queue
from gateway.commits.operations import Claim
from gateway.commits.queue import CommitFailed, CommitQueue
from gateway.models import ApiRequest, IdempotentRequest
from gateway.serving.reservation import reserve
from tests.support.books import sums
from tests.support.factories import make_account, make_ask, make_price, make_record
from tests.support.gateway.watched_engine import (
    AMPLE_S,
    SOON_S,
    on_postgres,
    pass_time,
    reserves_of,
    run,
)
from tests.support.live import eventually
from tests.support.provider.scripts import answer, either, error, stream


@pytest.fixture
def account(committed_books):
    return make_account(balance_nano=100_000)


@pytest.fixture
def price(committed_books):
    return make_price()


def test_what_is_granted_is_told_before_it_is_committed(account, price):
    async def story(queue, engine):
        engine.may_return.clear()
        promise = await queue.promise(reserves_of(account, price, 1)[0], AMPLE_S)
        keeping = asyncio.create_task(promise.kept())
        await engine.committed.wait()
        was_kept_early = keeping.done()
        engine.may_return.set()
        return promise.grant, was_kept_early, await keeping

    assert run(story) == (Grant(10, 0), False, Grant(10, 0))
    assert sums(account) == (100_000, 10)


def test_a_refusal_is_told_as_it_is(price):
    poor = make_account(balance_nano=1)

    async def story(queue, engine):
        with pytest.raises(InsufficientCredit):
            await queue.promise(reserves_of(poor, price, 1)[0], AMPLE_S)

    run(story)
    assert sums(poor) == (1, 0)


def test_who_hangs_up_before_the_decision_leaves_no_hold(account, price):
    async def story(queue, engine):
        engine.may_start.clear()
        asking = asyncio.create_task(queue.promise(reserves_of(account, price, 1)[0], AMPLE_S))
        await engine.began.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(story)
    assert not Hold.objects.exists()
    assert sums(account) == (100_000, 0)


def test_who_hangs_up_with_a_key_while_the_hold_is_written_leaves_neither(
    account, price, monkeypatch
):
    async def story(queue, engine):
        monkeypatch.setattr(commit_queue, "queue", lambda: queue)
        engine.may_return.clear()
        record = make_record(reserves_of(account, price, 1)[0])
        claim = Claim("a-digest", "of-a-body", timezone.now() + dt.timedelta(days=1))
        asking = asyncio.create_task(reserve(record, make_ask(), price.id.hex, claim))
        await engine.committed.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await leases.close()

    run(story)
    assert not Hold.objects.exists()
    assert not IdempotentRequest.objects.exists()
    assert sums(account) == (100_000, 0)


def test_a_promise_that_takes_too_long_is_broken_and_its_hold_released(account, price):
    async def story(queue, engine):
        engine.may_return.clear()
        promise = await queue.promise(reserves_of(account, price, 1)[0], AMPLE_S)
        pass_time(AMPLE_S)
        with pytest.raises(CommitFailed):
            await promise.kept()

    run(story)
    assert not Hold.objects.exists()
    assert sums(account) == (100_000, 0)


def test_a_database_that_decides_nothing_promises_nothing(account, price, monkeypatch):
    monkeypatch.setattr(commit_queue, "RETRY_S", SOON_S)

    async def story(queue, engine):
        engine.is_unreachable = True
        with pytest.raises(CommitFailed):
            await queue.promise(reserves_of(account, price, 1)[0], AMPLE_S)
        engine.is_unreachable = False

    run(story)
    assert not Hold.objects.exists()


def test_what_has_to_be_decided_again_may_be_refused(account, price):
    """Two reservations share a batch that can't be written; alone, the second doesn't fit."""

    class Engine:
        idle_turns = 0

        async def run(self, operations, decided=None, lock_wait_ms=0):
            if len(operations) == 2:
                decided([Grant(10, 0), Grant(10, 0)])
                raise IntegrityError
            return [outcomes.pop(0)]

        async def close(self):
            pass

    outcomes = [Grant(10, 0), InsufficientCredit(10, 0, 0)]

    async def story():
        queue = CommitQueue(Engine(), 10)
        asked = (queue.promise(one, AMPLE_S) for one in reserves_of(account, price, 2))
        first, second = await asyncio.gather(*asked)
        assert await first.kept() == Grant(10, 0)
        with pytest.raises(InsufficientCredit):
            await second.kept()
        await queue.close()

    asyncio.run(story())


# --- over HTTP, on a database that refuses to write a hold ---------------------------------------

SQLITE = """
CREATE TRIGGER no_hold BEFORE INSERT ON billing_hold WHEN NEW.account_id = '{account}'
BEGIN SELECT RAISE(ABORT, 'no hold today'); END;
"""
POSTGRES = """
CREATE FUNCTION no_hold() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no hold today'; END $$;
CREATE TRIGGER no_hold BEFORE INSERT ON billing_hold FOR EACH ROW
WHEN (NEW.account_id = '{account}') EXECUTE FUNCTION no_hold();
"""
MENDED = "DROP FUNCTION no_hold CASCADE" if on_postgres else "DROP TRIGGER no_hold"


@pytest.fixture
def no_hold(customer):
    broken = (POSTGRES if on_postgres else SQLITE).format(account=customer.account.id.hex)
    with connection.cursor() as cursor:
        cursor.execute(broken)
        yield
        cursor.execute(MENDED)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "script",
    [either(stream("Never said"), answer("Never said")), error(500)],
    ids=["says", "fails"],
)
def test_an_answer_whose_hold_cannot_be_written_never_leaves(
    customer, fake, no_hold, script, streamed
):
    prompt = fake.script_attempts([script])
    response = customer.ask(prompt, stream=streamed)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "unavailable"
    account = CreditAccount.objects.get(pk=customer.account.pk)
    assert (account.balance_nano, account.held_nano) == (customer.account.balance_nano, 0)
    rows = ApiRequest.objects.filter(account=account)
    eventually(lambda: rows.filter(outcome="refused", status=503).count() == 1)
    assert rows.count() == 1
