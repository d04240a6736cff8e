"""Writes the lease of this process, on a connection of its own that no pool can withhold.

Each call ends within its timeout, also against a server or a pooler that says nothing.
"""

import asyncio
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections
from django.db.models import F
from django.utils import timezone

from gateway.commits.postgres import BEGIN, COMMIT, Command, Line, connect
from gateway.models import SweeperState, WebProcess


@dataclasses.dataclass(frozen=True, slots=True)
class Pulse:
    """The database's answer to a beat: its time, and what the sweeper last left there.

    `now` is in seconds of the epoch. `sweeper_silent_s` is None if no sweeper has run yet.
    """

    now: float
    sweeper_silent_s: float | None
    oldest_transaction_s: float


class PostgresRows:
    def __init__(self) -> None:
        self._line: Line | None = None
        self._connection: Any = None

    async def open(self, process_id: str, timeout_s: float) -> Pulse:
        """Begin the lease of a new process. Raises psycopg.Error, TimeoutError, OSError."""
        await self._write(f"INSERT INTO gateway_webprocess {_FIRST % process_id}", timeout_s)  # noqa: S608
        pulse = await self.beat(process_id, timeout_s)
        assert pulse is not None
        return pulse

    async def beat(self, process_id: str, timeout_s: float) -> Pulse | None:
        """Add one beat. Returns None if the process is taken for dead. Raises as `open` does."""
        rows = await self._write(_BEAT % process_id, timeout_s)
        if not rows:
            return None
        now, silent_s, oldest_s = rows[0]
        return Pulse(float(now), None if silent_s is None else float(silent_s), float(oldest_s))

    async def end(self, process_id: str, timeout_s: float) -> None:
        """Declare the process dead. Raises as `open` does."""
        await self._write(_END % process_id, timeout_s)

    async def close(self) -> None:
        if self._line is not None:
            self._line.hang_up()
            self._line = None
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _write(self, sql: str, timeout_s: float) -> list[tuple]:
        """Run one statement in a transaction of its own, which the server gives up in time too."""
        limit: Command = (f"SET LOCAL statement_timeout = {round(1000 * timeout_s)}", None)
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._connected()
                return (await line.ask([BEGIN, limit, (sql, None), COMMIT]))[2]
        except BaseException:
            await self.close()
            raise

    async def _connected(self) -> Line:
        if self._line is None:
            self._connection = await connect()
            self._connection.pgconn.enter_pipeline_mode()
            self._line = Line(self._connection.pgconn)
        return self._line


_FIRST = "(id, beat, seen, missed) VALUES ('%s', 0, 0, 0)"
_BEAT = """
UPDATE gateway_webprocess SET beat = beat + 1 WHERE id = '%s' AND dead_at IS NULL
RETURNING
    extract(epoch FROM clock_timestamp()),
    (SELECT extract(epoch FROM clock_timestamp() - s.swept_at) FROM gateway_sweeperstate AS s),
    (SELECT coalesce(max(s.oldest_transaction_s), 0) FROM gateway_sweeperstate AS s)
"""
_END = """
UPDATE gateway_webprocess SET dead_at = clock_timestamp() WHERE id = '%s' AND dead_at IS NULL
"""


class SqliteRows:
    """The same on SQLite, in a thread that owns the connection."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lease")

    async def open(self, process_id: str, timeout_s: float) -> Pulse:
        return await self._run(timeout_s, _open, process_id)

    async def beat(self, process_id: str, timeout_s: float) -> Pulse | None:
        return await self._run(timeout_s, _beat, process_id)

    async def end(self, process_id: str, timeout_s: float) -> None:
        await self._run(timeout_s, _end, process_id)

    async def close(self) -> None:
        self._thread.submit(lambda: connections["default"].close())  # Its own, not the caller's.
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self, timeout_s: float, function: Callable, process_id: str) -> Any:
        def within_the_time() -> Any:
            with connections["default"].cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {round(1000 * timeout_s)}")
            return function(process_id)

        running = asyncio.get_running_loop().run_in_executor(self._thread, within_the_time)
        return await asyncio.wait_for(running, timeout_s + 1)


def _open(process_id: str) -> Pulse:
    WebProcess.objects.create(id=process_id)
    return _pulse()


def _beat(process_id: str) -> Pulse | None:
    living = WebProcess.objects.filter(pk=process_id, dead_at=None)
    return _pulse() if living.update(beat=F("beat") + 1) else None


def _end(process_id: str) -> None:
    WebProcess.objects.filter(pk=process_id, dead_at=None).update(dead_at=timezone.now())


def _pulse() -> Pulse:
    now, state = timezone.now(), SweeperState.objects.first()
    if state is None:
        return Pulse(now.timestamp(), None, 0)
    silent_s = (now - state.swept_at).total_seconds()
    return Pulse(now.timestamp(), silent_s, state.oldest_transaction_s)
