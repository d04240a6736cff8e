"""The commit queue on the real engine of this database, in the hands of a test."""

import asyncio

import psycopg
from django.db import connection
from psycopg import errors

from gateway.commits.now import commit_now
from gateway.commits.operations import Log
from gateway.commits.postgres import LOCK_WAIT_MS, PostgresEngine
from gateway.commits.queue import CommitQueue
from gateway.commits.sqlite import SqliteEngine
from tests.support.factories import make_ask, make_record, make_reserve

SOON_S = 0.01
AMPLE_S = 30
on_postgres = connection.vendor == "postgresql"


class WatchedEngine:
    """The engine of this database; tests hold it up, count its batches and make it fail."""

    def __init__(self):
        self.real = PostgresEngine() if on_postgres else SqliteEngine(commit_now)
        self.idle_turns = self.real.idle_turns
        self.batches: list[int] = []
        self.began = asyncio.Event()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.may_return = asyncio.Event()
        self.may_return.set()
        self.committed = asyncio.Event()
        self.answers_to_lose = 0
        self.is_unreachable = False
        self.breaks_at: str | None = None
        self.locked: set[str] = set()  # ids of accounts
        self.rows_locked: set[str] = set()  # of accounts that aren't locked themselves
        self.lock_waits_ms: list[int] = []
        self.probes = 0
        self._probed = asyncio.Condition()

    async def run(self, operations, decided=None, lock_wait_ms=LOCK_WAIT_MS):
        self.lock_waits_ms.append(lock_wait_ms)
        self.batches.append(len(operations))
        self.began.set()
        await self.may_start.wait()
        if self.is_unreachable or self.breaks_at in map(_request_id, operations):
            raise psycopg.OperationalError("connection refused")
        if (self.locked | self.rows_locked).intersection(one.account_id for one in operations):
            raise errors.LockNotAvailable("canceling statement due to lock timeout")
        results = await self.real.run(operations, decided, lock_wait_ms)
        self.committed.set()
        await self.may_return.wait()
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return results

    async def free(self, account_ids, lock_wait_ms):
        self.probes += 1
        async with self._probed:
            self._probed.notify_all()
        if self.is_unreachable:
            raise psycopg.OperationalError("connection refused")
        return await self.real.free(account_ids, lock_wait_ms) - self.locked

    async def probed(self, times):
        """Return after so many more probes for free accounts have begun."""
        wanted = self.probes + times
        async with self._probed:
            await self._probed.wait_for(lambda: self.probes >= wanted)

    async def close(self):
        await self.real.close()


def _request_id(operation) -> str:
    return getattr(operation, "request_id", "")


def run(story, size: int = 1000, **bounds: int):
    """Run `story(queue, engine)` on a watched engine, then close the queue; what it returned."""

    async def whole():
        engine = WatchedEngine()
        queue = CommitQueue(engine, size, **bounds)
        async with asyncio.timeout(2 * AMPLE_S):
            result = await story(queue, engine)
            engine.may_start.set()
            engine.may_return.set()
            await queue.close()
        return result

    return asyncio.run(whole())


def pass_time(seconds: float) -> None:
    """To the loop it is so much later, and what should have come by then is late."""
    loop = asyncio.get_running_loop()
    clock = loop.time
    loop.time = lambda: clock() + seconds


def submit_all(queue, operations):
    return asyncio.gather(
        *(queue.submit(one, AMPLE_S) for one in operations), return_exceptions=True
    )


async def begun(queue, engine, operation) -> asyncio.Task:
    """A task that submits `operation`, once the writer has taken it."""
    engine.began.clear()
    task = asyncio.create_task(queue.submit(operation, AMPLE_S))
    await engine.began.wait()
    return task


def reserves_of(account, price, number, amount_nano=10):
    return [make_reserve(account, price, make_ask(amount_nano)) for _ in range(number)]


def log_of_a_refusal(account, price):
    return Log(make_record(make_reserve(account, price, make_ask()), outcome="refused"))
