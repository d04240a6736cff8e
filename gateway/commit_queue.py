"""Group commit: everything durable that requests do, one transaction for all that wait.

Requests hand over an operation and await its result; one writer per process takes all that
wait, applies them in one transaction and resolves their futures after the commit. An operation
that fails, fails alone. The queue is bounded: a full one refuses bookings and drops (and
counts) the log rows of refused requests.

What its caller was told had failed is undone, whatever became of it: where a commit came too late
or its fate is unknown (`operations.undo`). What undoes is kept until the database has answered.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections, transaction

from billing.ledger import Grant
from gateway import batch
from gateway.operations import Decided, Operation, Record, Reserve, Settle, size_of, undo
from gateway.postgres_engine import PostgresEngine
from gateway.sql import as_django, as_json, reads, statement
from gateway.sqlite_engine import SqliteEngine

logger = logging.getLogger(__name__)

MAX_BATCH = 256
MAX_BATCH_BYTES = 8_000_000
# A transaction costs much the same for one operation and for many: under load it waits for more.
MANY = 16
LINGER_S = 0.001
# What says that the database is out of reach, rather than that an operation is at fault.
_OUT_OF_REACH = ("OperationalError", "InterfaceError", "PoolTimeout", "AdminShutdown")
RETRY_S = 1.0  # While the database is out of reach, what is kept asks for it so often.
CLOSE_WITHIN_S = 5.0


Retry = Callable[[], Awaitable[None]]


class CommitFailed(Exception):
    """The operation was not applied, or nobody knows whether it was."""


class QueueFull(CommitFailed):
    pass


@dataclasses.dataclass(slots=True)
class _Waiting:
    """`future` is done once it is committed, or before its time if nobody waits for it any more;
    `decided` of a reservation as soon as it is granted.
    """

    operation: Operation
    future: asyncio.Future
    decided: asyncio.Future | None = None
    timer: asyncio.TimerHandle | None = None

    def decide(self, result: Any) -> None:
        """What is granted. A refusal waits for the commit: it may be undone until then."""
        if self.decided and not self.decided.done() and not isinstance(result, Exception):
            self.decided.set_result(result)

    @property
    def is_given_up(self) -> bool:
        """A reservation that nobody waits for, or a settlement whose caller was told that it
        failed. One whose caller has just gone is settled all the same.
        """
        if isinstance(self.operation, Reserve):
            return self.future.done()
        return isinstance(self.operation, Settle) and self.operation.is_given_up

    def time_out(self) -> None:
        self.fail(CommitFailed("the database took too long"))

    def fail(self, error: Exception) -> None:
        if isinstance(self.operation, Settle) and not self.future.done():
            self.operation.is_given_up = True
        for future in (self.decided, self.future):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # Nobody may be waiting: then it isn't worth a warning.


class Promise:
    """A reservation that is granted, and about to be committed; or is already, without a future."""

    def __init__(self, grant: Grant, committed: asyncio.Future | None = None):
        self.grant = grant
        self._committed = committed

    async def kept(self) -> Grant:
        """Wait until it is durable. Another amount is granted if it had to be decided again.

        Raises as `CommitQueue.submit` does.
        """
        if self._committed is not None:
            if not self._committed.done():
                await asyncio.wait((self._committed,))
            self.grant = self._committed.result()
        return self.grant


class CommitQueue:
    """The one writer of this process. Belongs to the event loop in which it is first used."""

    def __init__(self, engine: PostgresEngine | SqliteEngine, size: int):
        self._engine = engine
        self._size = size
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task | None = None
        self._kept: list[_Waiting] = []  # Undoes what may have been applied; see `_lose`.
        self._asks_again = False
        self._due: deque[Retry] = deque()
        self._closing = False
        self._last_count = 0
        self.dropped = 0

    @property
    def depth(self) -> int:
        """How many operations wait."""
        return len(self._waiting) + len(self._kept)

    async def submit(self, operation: Operation, timeout_s: float) -> Any:
        """Apply `operation` durably and return its result.

        Raises what the rule raises (BillingError, HoldClosed), or CommitFailed when it could
        not be committed in time. Then it is undone by itself, should it have been applied.
        """
        waiting = self._enqueue(operation, timeout_s)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._forget(waiting)
            raise

    async def promise(self, operation: Reserve, timeout_s: float) -> Promise:
        """Return as soon as `operation` is granted: its caller needn't wait for the disk to go on.

        Raises as `submit` does.
        """
        waiting = self._enqueue(operation, timeout_s)
        waiting.decided = asyncio.get_running_loop().create_future()
        try:
            return Promise(await waiting.decided, waiting.future)
        except asyncio.CancelledError:
            waiting.future.cancel()
            self._forget(waiting)
            raise

    def _forget(self, waiting: _Waiting) -> None:
        """Its caller was cancelled, perhaps just after a reservation was committed."""
        if isinstance(waiting.operation, Reserve) and _was_granted(waiting.future):
            self._undo(waiting.operation)

    def _enqueue(self, operation: Operation, timeout_s: float) -> _Waiting:
        if self.depth >= self._size:
            raise QueueFull(f"{self._size} operations wait")
        waiting = self._push(operation)
        waiting.timer = asyncio.get_running_loop().call_later(timeout_s, waiting.time_out)
        return waiting

    def record(self, operation: Record) -> None:
        """Log a refused request some time soon. It is dropped and counted when the queue is full
        or the database out of reach.
        """
        if self.depth >= self._size // 2:
            self.dropped += 1
            return
        self._push(operation)

    async def close(self) -> None:
        """Write what waits and stop; without a database, after a few seconds."""
        self._closing = True
        self._arrived.set()
        if self._writer is not None:
            _, late = await asyncio.wait({self._writer}, timeout=CLOSE_WITHIN_S)
            if late:
                logger.error("closed without the database: %d operations are left", self.depth)
                self._writer.cancel()
                await asyncio.wait(late)
        await self._engine.close()

    def _push(self, operation: Operation) -> _Waiting:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="commit queue")
        waiting = _waiting(operation)
        self._waiting.append(waiting)
        self._arrived.set()
        return waiting

    async def _write_all(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting or self._due:
                if self._due:
                    await self._due.popleft()()
                    continue
                if MANY <= len(self._waiting) < self._last_count and not self._closing:
                    await asyncio.sleep(LINGER_S)  # As many as last time are on their way.
                await self._gather()
                taken = self._take()
                self._last_count = len(taken)
                await self._write(taken)
            if self._closing and not self._kept:
                return

    async def _gather(self) -> None:
        """Let those come that the loop has heard of, where one batch is cheaper than two."""
        count = idle = 0
        while idle < self._engine.idle_turns and len(self._waiting) < MANY:
            idle = idle + 1 if len(self._waiting) == count else 0
            count = len(self._waiting)
            await asyncio.sleep(0)

    def _take(self) -> list[_Waiting]:
        """The next batch: not so much that it would take a statement of a hundred megabytes."""
        taken: list[_Waiting] = []
        size = 0
        while self._waiting and len(taken) < MAX_BATCH and size < MAX_BATCH_BYTES:
            one = self._waiting.popleft()
            if not one.is_given_up:
                taken.append(one)
                size += size_of(one.operation)
            elif isinstance(one.operation, Settle):
                self._undo(one.operation)
        return taken

    async def _write(self, taken: list[_Waiting]) -> None:
        if not taken:
            return
        try:
            results = await self._apply(taken)
        except Exception as error:  # noqa: BLE001 - the writer must outlive whatever a batch does
            if len(taken) > 1 and not _is_out_of_reach(error):
                for one in taken:
                    await self._write([one])
                return
            logger.error("commit failed: %s, %d operations", type(error).__name__, len(taken))
            results = [CommitFailed(type(error).__name__)] * len(taken)
            if _is_out_of_reach(error):
                for one, failure in zip(taken, results, strict=True):
                    self._lose(one, failure)
                return
        for one, result in zip(taken, results, strict=True):
            self._resolve(one, result)

    async def _apply(self, taken: list[_Waiting]) -> list[Any]:
        """One transaction, tried twice when the connection was lost: `batch` may be repeated."""
        operations = [one.operation for one in taken]
        decided = partial(_announce, taken) if any(one.decided for one in taken) else None
        try:
            return await self._engine.run(operations, decided)
        except (psycopg.Error, DatabaseError) as error:
            if not _is_out_of_reach(error):
                raise
        return await self._engine.run(operations, decided)

    def _resolve(self, one: _Waiting, result: Any) -> None:
        if one.timer is not None:
            one.timer.cancel()
        if one.is_given_up:
            if isinstance(one.operation, Settle) or not isinstance(result, Exception):
                self._undo(one.operation)
        elif one.future.done():
            pass  # Its caller has gone, and is charged all the same.
        elif isinstance(result, Exception):
            one.fail(result)
        else:
            one.decide(result)
            one.future.set_result(result)

    def _lose(self, one: _Waiting, failure: Exception) -> None:
        """Nobody knows whether `one` was applied: say that it failed, and keep what undoes it."""
        if isinstance(one.operation, Record):
            self.dropped += 1
            return
        if isinstance(one.operation, Reserve | Settle):
            if one.timer is not None:
                one.timer.cancel()
            one.fail(failure)
            one = _waiting(undo(one.operation, dt.datetime.now(dt.UTC)))
        self._kept.append(one)
        if not self._asks_again:
            self._asks_again = True
            self._call_later(RETRY_S, self._write_kept)

    async def _write_kept(self) -> None:
        """In batches of its own; the first is one operation, that asks whether anybody answers."""
        self._asks_again = False
        at_once = 1
        while self._kept and not self._asks_again:
            taken, self._kept = self._kept[:at_once], self._kept[at_once:]
            await self._write(taken)
            at_once = MAX_BATCH

    def _call_later(self, delay_s: float, retry: Retry) -> None:
        def come_due() -> None:
            self._due.append(retry)
            self._arrived.set()

        asyncio.get_running_loop().call_later(delay_s, come_due)

    def _undo(self, op: Operation) -> None:
        assert isinstance(op, Reserve | Settle)
        self._push(undo(op, dt.datetime.now(dt.UTC)))


def _waiting(operation: Operation) -> _Waiting:
    return _Waiting(operation, asyncio.get_running_loop().create_future())


def _announce(taken: list[_Waiting], results: list[Any]) -> None:
    for one, result in zip(taken, results, strict=True):
        one.decide(result)


def _was_granted(future: asyncio.Future) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _is_out_of_reach(error: Exception) -> bool:
    return any(kind.__name__ in _OUT_OF_REACH for kind in type(error).__mro__)


def commit_now(operations: list[Operation], decided: Decided | None = None) -> list[Any]:
    """Apply `operations` in one transaction, on this thread. Returns a result for each."""
    with transaction.atomic():
        connection = connections["default"]
        run = _run_on_sqlite if connection.vendor == "sqlite" else _run_on_postgres
        results, writes = _drive(connection, run, batch.apply(operations))
        if decided is not None:
            decided(results)
        for one in writes:
            run(connection, *one)
        return results


def _drive(connection, run: Callable, generator) -> tuple[list[Any], list[batch.Statement]]:
    rows = None
    try:
        while True:
            rows = [run(connection, *one) for one in generator.send(rows)]
    except StopIteration as done:
        return done.value


def _run_on_sqlite(connection, name: str, rows: list[dict]) -> batch.Rows:
    """Past Django's cursor, which would rewrite the statement each time."""
    sql, sqlite = statement(name, "sqlite"), connection.connection
    values = as_django(name, rows)
    with connection.wrap_database_errors:
        if reads(name):
            return sqlite.execute(sql, (as_json(values),)).fetchall()
        sqlite.executemany(sql, values)
        return []


def _run_on_postgres(connection, name: str, rows: list[dict]) -> batch.Rows:
    with connection.cursor() as cursor:
        cursor.execute(statement(name, "postgresql"), [as_json(rows)])
        return cursor.fetchall() if cursor.description else []


_queue: CommitQueue | None = None


def queue() -> CommitQueue:
    """The commit queue of this process."""
    global _queue
    if _queue is None:
        is_postgres = connections["default"].vendor == "postgresql"
        engine = PostgresEngine() if is_postgres else SqliteEngine(commit_now)
        _queue = CommitQueue(engine, settings.COMMIT_QUEUE_SIZE)
    return _queue


async def close() -> None:
    """Write what waits; the next use begins anew."""
    global _queue
    if _queue is not None:
        await _queue.close()
        _queue = None
