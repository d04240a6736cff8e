"""Group commit: one transaction for the durable operations of all requests that wait.

A request hands over an operation and awaits its result. The one writer of the process takes all
operations that wait, applies them in one transaction and resolves their futures after the commit.
An operation that fails, fails alone. The queue is bounded: a full one refuses operations on money,
and drops and counts the log rows of refused requests.

An operation that was reported as failed is undone (`operations.undo`) if it may have been applied:
its commit came too late, or nobody knows whether there was one. The undoing is retried until the
database answers. If the undoing itself is refused, it is kept and retried less and less often, an
error is logged each time, and a metric counts it.

The operations of an account that another session has locked wait apart and are retried by
themselves, so all other accounts go on.
"""

import asyncio
import datetime as dt
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connections

from billing.ledger import Grant
from gateway.commits.database_errors import DATABASE_ERRORS, is_locked, is_out_of_reach
from gateway.commits.now import commit_now
from gateway.commits.operations import (
    Log,
    Operation,
    Release,
    Reserve,
    Reverse,
    Settle,
    size_of,
    undo,
)
from gateway.commits.postgres import LOCK_WAIT_MS, PostgresEngine
from gateway.commits.silence import Silence
from gateway.commits.sqlite import SqliteEngine
from gateway.commits.waiting import CommitFailed, Waiting

logger = logging.getLogger(__name__)

MAX_BATCH = 256
MAX_BATCH_BYTES = 8_000_000
# A transaction costs much the same for one operation and for many: under load it waits for more.
MANY = 16
LINGER_S = 0.001
RETRY_S = 1.0  # The interval at which undoing is retried while the database is out of reach.
MOST_RETRY_S = 60.0  # The longest one at which an undoing is retried that the database refuses.
CLOSE_WITHIN_S = 5.0
# Lock wait when retrying a locked account: starts here and doubles up to LOCK_WAIT_MS. After each
# try the account rests RESTS times as long, so the other accounts get most of the writer's time.
PROBE_MS = 5
RESTS = 4

Retry = Callable[[], Awaitable[None]]


class QueueFull(CommitFailed):
    pass


class Promise:
    """A reservation that is granted. Without a future it is committed already."""

    def __init__(self, grant: Grant, committed: asyncio.Future | None = None):
        self.grant = grant
        self._committed = committed

    async def kept(self) -> Grant:
        """Wait until the reservation is durable, and return the grant.

        The amount differs from the first one if the reservation had to be decided again.
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
        self._waiting: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task | None = None
        self._undoing: list[Waiting] = []  # See `_undo_later`.
        self._will_retry = False
        self._refused: dict[str, float] = {}  # Undoings, by request: the time to the next try.
        self._silence = Silence()
        self._apart: dict[str, deque[Waiting]] = {}  # by locked account
        self._due: deque[Retry] = deque()
        self._closing = False
        self._last_count = 0
        self.dropped = 0

    @property
    def depth(self) -> int:
        """The number of operations that wait."""
        kept = len(self._undoing) + len(self._refused)
        return len(self._waiting) + kept + sum(map(len, self._apart.values()))

    @property
    def refused(self) -> int:
        """The number of undoings that the database refuses. Somebody must find out why."""
        return len(self._refused)

    @property
    def silent_s(self) -> float:
        """For how long the database has written nothing of what waits. Any thread may ask.

        Locked accounts don't count, because the database answers that they are locked.
        """
        return self._silence.seconds

    async def submit(self, operation: Operation, timeout_s: float) -> Any:
        """Apply `operation` durably and return its result.

        Raises the refusal (BillingError, HoldClosed, KeyTaken), or CommitFailed if the operation
        could not be committed in time. Then the queue undoes it if it was applied after all.
        """
        waiting = self._enqueue(operation, timeout_s)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._forget(waiting)
            raise

    async def promise(self, operation: Reserve, timeout_s: float) -> Promise:
        """Return as soon as `operation` is granted: the request goes on before it is on disk.

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

    def _forget(self, waiting: Waiting) -> None:
        """Release a reservation that was committed just before its caller was cancelled."""
        if isinstance(waiting.operation, Reserve) and _was_granted(waiting.future):
            self._undo(waiting.operation)

    def _enqueue(self, operation: Operation, timeout_s: float) -> Waiting:
        if self.depth >= self._size:
            raise QueueFull(f"{self._size} operations wait")
        waiting = self._push(operation)
        waiting.timer = asyncio.get_running_loop().call_later(timeout_s, waiting.time_out)
        return waiting

    def log_soon(self, operation: Log) -> None:
        """Log a request that held nothing, without waiting for the commit.

        The row is dropped and counted if the queue is half full or the database out of reach.
        """
        if self.depth >= self._size // 2:
            self.dropped += 1
            return
        self._push(operation)

    async def close(self) -> None:
        """Write all that waits and stop. Without a database, give up after CLOSE_WITHIN_S."""
        self._closing = True
        self._arrived.set()
        if self._writer is not None:
            _, late = await asyncio.wait({self._writer}, timeout=CLOSE_WITHIN_S)
            if late:
                logger.error("closed without the database: %d operations are left", self.depth)
                self._writer.cancel()
                await asyncio.wait(late)
        if self._refused:
            logger.error("closed with %d undoings that the database refuses", self.refused)
        await self._engine.close()

    def _push(self, operation: Operation) -> Waiting:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="commit queue")
        waiting = Waiting(operation)
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
                    await asyncio.sleep(LINGER_S)  # About as many as last time will arrive.
                await self._gather()
                taken = self._take(self._waiting)
                self._last_count = len(taken)
                await self._write(taken)
            if self._closing and not self._undoing and not self._apart:
                return

    async def _gather(self) -> None:
        """Let requests that have just arrived join, where one batch is cheaper than two."""
        count = idle = 0
        while idle < self._engine.idle_turns and len(self._waiting) < MANY:
            idle = idle + 1 if len(self._waiting) == count else 0
            count = len(self._waiting)
            await asyncio.sleep(0)

    def _take(self, waiting: deque[Waiting]) -> list[Waiting]:
        """Return the next batch, bounded so that no statement takes a hundred megabytes.

        Leave out operations that were given up, and those of accounts that wait apart.
        """
        taken: list[Waiting] = []
        size = 0
        while waiting and len(taken) < MAX_BATCH and size < MAX_BATCH_BYTES:
            one = waiting.popleft()
            if one.is_given_up:
                if isinstance(one.operation, Settle):
                    self._undo(one.operation)
            elif self._apart and one.operation.account_id in self._apart:
                self._apart[one.operation.account_id].append(one)
            else:
                taken.append(one)
                size += size_of(one.operation)
        return taken

    async def _write(self, taken: list[Waiting], lock_wait_ms: int = LOCK_WAIT_MS) -> None:
        if not taken:
            return
        self._silence.asked()
        try:
            results = await self._apply(taken, lock_wait_ms)
        except Exception as error:  # noqa: BLE001 - the writer must outlive whatever a batch does
            await self._cope(taken, error, lock_wait_ms)
            return
        # Undoing what was never applied needs no disk, so it says nothing about a full one.
        is_undoing = all(isinstance(one.operation, Release | Reverse) for one in taken)
        self._silence.answered(ends=not is_undoing)
        for one, result in zip(taken, results, strict=True):
            self._resolve(one, result)

    async def _cope(self, taken: list[Waiting], error: Exception, lock_wait_ms: int) -> None:
        """Handle a batch that couldn't be written."""
        if is_out_of_reach(error):
            logger.error("commit failed: %s, %d operations", type(error).__name__, len(taken))
            self._silence.failed()
            for one in taken:
                self._undo_later(one, CommitFailed(type(error).__name__))
            return
        self._silence.answered(ends=True)
        if is_locked(error):
            await self._set_apart(taken, lock_wait_ms)
        elif len(taken) > 1:
            for one in taken:  # `_take` sets apart those whose account proves to be locked.
                await self._write(self._take(deque((one,))), lock_wait_ms)
        else:
            self._fail_alone(taken[0], error)

    def _fail_alone(self, one: Waiting, error: Exception) -> None:
        """Handle an operation that the database refuses, and that therefore wasn't applied."""
        op = one.operation
        logger.error(
            "%s of request %s failed: %s", type(op).__name__, op.request_id, type(error).__name__
        )
        if isinstance(op, Release | Reverse):
            self._retry_refused(one)
            return
        if one.timer is not None:
            one.timer.cancel()
        one.fail(CommitFailed(type(error).__name__))
        if isinstance(op, Settle):
            self._undo(op)
        elif isinstance(op, Log):
            self.dropped += 1

    def _retry_refused(self, one: Waiting) -> None:
        request_id = one.operation.request_id
        delay_s = min(2 * self._refused.get(request_id, RETRY_S / 2), MOST_RETRY_S)
        self._refused[request_id] = delay_s
        self._call_later(delay_s, partial(self._write, [one]))

    async def _set_apart(self, taken: list[Waiting], waited_ms: int) -> None:
        """Find the locked account by halving the batch, and write all others."""
        accounts = list(dict.fromkeys(one.operation.account_id for one in taken))
        half = set(accounts[: len(accounts) // 2])
        if half:
            await self._write([one for one in taken if one.operation.account_id in half], PROBE_MS)
            rest = [one for one in taken if one.operation.account_id not in half]
            await self._write(rest, PROBE_MS)
            return
        (account,) = accounts
        wait_ms = min(2 * waited_ms, LOCK_WAIT_MS) if waited_ms < LOCK_WAIT_MS else PROBE_MS
        self._apart[account] = deque(taken)
        self._call_later(RESTS * wait_ms / 1000, partial(self._write_apart, account, wait_ms))

    async def _write_apart(self, account: str, lock_wait_ms: int) -> None:
        waiting = self._apart.pop(account)
        await self._write(self._take(waiting), lock_wait_ms)
        if account in self._apart:
            self._apart[account].extend(waiting)
        else:
            self._waiting.extendleft(reversed(waiting))

    async def _apply(self, taken: list[Waiting], lock_wait_ms: int) -> list[Any]:
        """Apply `taken` in one transaction, twice if the connection was lost: that is safe."""
        operations = [one.operation for one in taken]
        decided = partial(_announce, taken) if any(one.decided for one in taken) else None
        try:
            return await self._engine.run(operations, decided, lock_wait_ms)
        except DATABASE_ERRORS as error:
            if not is_out_of_reach(error):
                raise
        return await self._engine.run(operations, decided, lock_wait_ms)

    def _resolve(self, one: Waiting, result: Any) -> None:
        if one.timer is not None:
            one.timer.cancel()
        self._refused.pop(one.operation.request_id, None)
        if one.is_given_up:
            if isinstance(one.operation, Settle) or not isinstance(result, Exception):
                self._undo(one.operation)
        elif one.future.done():
            pass  # The caller was cancelled. The settlement counts all the same.
        elif isinstance(result, Exception):
            one.fail(result)
        else:
            one.decide(result)
            one.future.set_result(result)

    def _undo_later(self, one: Waiting, failure: Exception) -> None:
        """Report `one` as failed and undo it later: nobody knows whether it was applied.

        An undoing that failed is itself repeated. A log row is dropped.
        """
        if isinstance(one.operation, Log):
            self.dropped += 1
            return
        if isinstance(one.operation, Reserve | Settle):
            if one.timer is not None:
                one.timer.cancel()
            one.fail(failure)
            one = Waiting(undo(one.operation, dt.datetime.now(dt.UTC)))
        self._refused.pop(one.operation.request_id, None)
        self._undoing.append(one)
        if not self._will_retry:
            self._will_retry = True
            self._call_later(RETRY_S, self._write_undoing)

    async def _write_undoing(self) -> None:
        """Write the undoing in batches of its own. The first is one operation, as a probe."""
        self._will_retry = False
        at_once = 1
        while self._undoing and not self._will_retry:
            taken, self._undoing = self._undoing[:at_once], self._undoing[at_once:]
            await self._write(self._take(deque(taken)))
            at_once = MAX_BATCH

    def _call_later(self, delay_s: float, retry: Retry) -> None:
        def come_due() -> None:
            self._due.append(retry)
            self._arrived.set()

        asyncio.get_running_loop().call_later(delay_s, come_due)

    def _undo(self, op: Operation) -> None:
        assert isinstance(op, Reserve | Settle)
        self._push(undo(op, dt.datetime.now(dt.UTC)))


def _announce(taken: list[Waiting], results: list[Any]) -> None:
    for one, result in zip(taken, results, strict=True):
        one.decide(result)


def _was_granted(future: asyncio.Future) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


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
    """Write all that waits. The next use makes a new queue."""
    global _queue
    if _queue is not None:
        await _queue.close()
        _queue = None


def silent_s() -> float:
    """For how long operations of this process have waited for a database that doesn't answer."""
    return 0.0 if _queue is None else _queue.silent_s
