"""Group commit: one transaction for the durable operations of all requests that wait.

A request hands over an operation and awaits its result. The one writer of the process takes all
operations that wait, applies them in one transaction and resolves their futures after the commit.
An operation that fails, fails alone. The queue is bounded: a full one refuses operations on money,
and drops and counts the log rows of refused requests. It also bounds the bytes of content that
wait: beyond them a request is charged and logged without its content.

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
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connections

from gateway.commits import leases
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
from gateway.commits.waiting import CommitFailed, ContentRoom, Promise, Waiting

logger = logging.getLogger(__name__)

MAX_BATCH = 256
MAX_BATCH_BYTES = 8_000_000
# A transaction costs much the same for one operation and for many: under load it waits for more.
MANY = 16
LINGER_S = 0.001
DEFAULT_CONTENT_BYTES = 100_000_000
RETRY_S = 1.0  # The interval at which undoing is retried while the database is out of reach.
MOST_RETRY_S = 60.0  # The longest one at which an undoing is retried that the database refuses.
CLOSE_WITHIN_S = 5.0
# Lock wait of a batch that found a locked account, and of accounts that were set apart: one probe
# for all of them has just found theirs free. After each probe, and what was written with it, they
# rest RESTS times as long, so the other accounts get most of the writer's time.
RETRY_LOCK_WAIT_MS = 20
RESTS = 4
LEAST_REST_S = 0.02

Retry = Callable[[], Awaitable[None]]


class QueueFull(CommitFailed):
    pass


class CommitQueue:
    """The one writer of this process. Belongs to the event loop in which it is first used."""

    def __init__(
        self,
        engine: PostgresEngine | SqliteEngine,
        size: int,
        content_bytes: int = DEFAULT_CONTENT_BYTES,
    ):
        self._engine = engine
        self._size = size
        self._room = ContentRoom(content_bytes)
        self._waiting: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._writer: asyncio.Task | None = None
        self._undoing: list[Waiting] = []  # See `_undo_later`.
        self._will_retry = False
        # By locked account, until a probe finds it free; it may be that no operation is left.
        self._apart: dict[str, deque[Waiting]] = {}
        self._will_probe = False
        self._refused: dict[str, float] = {}  # Undoings, by request: the time to the next try.
        self._silence = Silence()
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
        if isinstance(operation, Settle):
            self._room.take(waiting, operation)
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
            if self._closing and not self._undoing and not any(self._apart.values()):
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
            if not self._is_wanted(one):
                continue
            if self._apart and one.operation.account_id in self._apart:
                self._apart[one.operation.account_id].append(one)
            else:
                taken.append(one)
                size += size_of(one.operation)
        return taken

    def _is_wanted(self, one: Waiting) -> bool:
        """False if `one` was given up meanwhile. A settlement is undone then."""
        if one.is_given_up:
            self._room.free(one)
            if isinstance(one.operation, Settle):
                self._undo(one.operation)
        return not one.is_given_up

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
            await self._set_apart(taken)
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
        self._room.free(one)
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

    async def _set_apart(self, taken: list[Waiting]) -> None:
        """Set apart the operations of locked accounts, and write all others."""
        accounts = list(dict.fromkeys(one.operation.account_id for one in taken))
        free = await self._free(accounts)
        locked = [account for account in accounts if account not in free]
        if not locked and len(accounts) > 1:  # Another row of one of them is locked.
            await self._write_in_halves(taken, set(accounts[: len(accounts) // 2]))
            return
        for account in locked or accounts:
            self._apart.setdefault(account, deque())
        self._probe_later(LEAST_REST_S)
        await self._write(self._take(deque(taken)), RETRY_LOCK_WAIT_MS)

    async def _write_in_halves(self, taken: list[Waiting], half: set[str]) -> None:
        for is_first in (True, False):
            part = [one for one in taken if (one.operation.account_id in half) == is_first]
            await self._write(self._take(deque(part)), RETRY_LOCK_WAIT_MS)

    def _probe_later(self, delay_s: float) -> None:
        if not self._will_probe:
            self._will_probe = True
            self._call_later(delay_s, self._probe)

    async def _probe(self) -> None:
        """Write the operations of all accounts that are no longer locked."""
        begun = time.monotonic()
        for account, waiting in self._apart.items():
            self._apart[account] = deque(one for one in waiting if self._is_wanted(one))
        free = await self._free(list(self._apart))
        waiting = deque(one for account in free for one in self._apart.pop(account))
        while waiting:
            await self._write(self._take(waiting), RETRY_LOCK_WAIT_MS)
        self._will_probe = False
        if self._apart:
            self._probe_later(max(LEAST_REST_S, RESTS * (time.monotonic() - begun)))

    async def _free(self, accounts: list[str]) -> set[str]:
        """Return the accounts that nobody has locked: none if the database can't say."""
        try:
            return await self._engine.free(accounts, RETRY_LOCK_WAIT_MS)
        except Exception as error:  # noqa: BLE001 - the writer must outlive it, as in `_write`
            logger.warning("no locked account could be probed: %s", type(error).__name__)
            return set()

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
        self._room.free(one)
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
        self._room.free(one)
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
        content_bytes = settings.COMMIT_QUEUE_CONTENT_MB * 1_000_000
        _queue = CommitQueue(engine, settings.COMMIT_QUEUE_SIZE, content_bytes)
    return _queue


async def close() -> None:
    """Write all that waits, then end the lease of this process. The next use begins both again."""
    global _queue
    if _queue is not None:
        await _queue.close()
        _queue = None
    await leases.close()


def silent_s() -> float:
    """For how long operations of this process have waited for a database that doesn't answer."""
    return 0.0 if _queue is None else _queue.silent_s
