"""Runs batches on Postgres from the event loop, on one connection, in two round trips each.

It uses libpq's pipeline mode directly: a batch has a dozen statements, and psycopg's cursors would
cost more than the rest of the batch. The statements are prepared once per connection, unless a
pooler stands between Kyma and the server. After any error the connection is closed and the next
batch opens another one; only a lock timeout leaves it open.
"""

import asyncio
import functools
import hashlib
from collections.abc import Callable, Generator
from typing import Any

import psycopg
from django.conf import settings
from django.db import connections
from psycopg import errors
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from gateway.commits import batch
from gateway.commits.operations import Decided, Operation
from gateway.commits.sql import NAMES, as_json, statement

# A batch holds its locks for a few milliseconds. Anything that holds one longer delays others.
LOCK_WAIT_MS = 200
# Readers of the types that aren't text, by the type's number in pg_type.
_READERS: dict[int, Callable[[bytes], Any]] = {
    16: lambda value: value == b"t",  # bool
    20: int,  # bigint
    21: int,  # smallint
    23: int,  # int
}

Batch = Generator[list[batch.Statement], list[batch.Rows], tuple[list[Any], list[batch.Statement]]]
Command = tuple[str, list[bytes] | None]  # The name of a statement and its rows, or plain SQL.
BEGIN: Command = ("BEGIN", None)
# Set for each transaction alone, as a pooler gives the session to others. The server ends what this
# process no longer waits for, and a transaction whose process has frozen with its accounts locked.
# It takes the JSON of a statement for a hundred rows, and would rather read a whole table of ten
# thousand accounts than look a few of them up by an index, unless its other ways are off.
_SETTINGS = """SELECT
    set_config('lock_timeout', '{lock_wait_ms}', true),
    set_config('statement_timeout', '{limit_ms}', true),
    set_config('idle_in_transaction_session_timeout', '{limit_ms}', true),
    set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true)"""
COMMIT: Command = ("COMMIT", None)
ROLLBACK: Command = ("ROLLBACK", None)
# Errors that reveal a pooler which `is_direct` missed: prepared statements belong to another
# connection of the server.
_NOT_OURS = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)


class PostgresEngine:
    idle_turns = 0  # The server works in parallel with this process, so a batch starts at once.

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection | None = None
        self._line: Line | None = None
        self._may_prepare = True

    async def run(
        self,
        operations: list[Operation],
        decided: Decided | None = None,
        lock_wait_ms: int = LOCK_WAIT_MS,
    ) -> list[Any]:
        """Apply `operations` in one transaction.

        Raises psycopg.Error: LockNotAvailable after `lock_wait_ms` at any one lock, and
        OperationalError when the server hasn't answered within COMMIT_TIMEOUT_S.
        """
        try:
            async with asyncio.timeout(settings.COMMIT_TIMEOUT_S):
                line = await self._connected()
                return await _transact(line, begin(lock_wait_ms), batch.apply(operations), decided)
        except errors.LockNotAvailable:
            raise
        except _NOT_OURS:
            await self.close()
            self._may_prepare = False
        except TimeoutError as late:
            await self.close()
            raise psycopg.OperationalError("the server took too long") from late
        except BaseException:
            await self.close()
            raise
        return await self.run(operations, decided, lock_wait_ms)

    async def free(self, account_ids: list[str], lock_wait_ms: int) -> set[str]:
        """Return the accounts that no other session has locked. It waits for none of them.

        Raises psycopg.Error; that is LockNotAvailable if the whole table is locked.
        """
        ask = _command("find_free_accounts", [{"id": one} for one in account_ids])
        try:
            async with asyncio.timeout(settings.COMMIT_TIMEOUT_S):
                line = await self._connected()
                rows = (await line.ask([*begin(lock_wait_ms), ask, ROLLBACK]))[2]
        except BaseException:
            await self.close()
            raise
        return {row[0].replace("-", "") for row in rows}

    async def _connected(self) -> "Line":
        if self._line is None or self._connection is None or self._connection.closed:
            await self.close()
            self._connection = await connect()
            may_prepare = self._may_prepare and await is_direct(self._connection)
            self._connection.pgconn.enter_pipeline_mode()
            self._line = Line(self._connection.pgconn)
            if may_prepare:
                await self._line.prepare()
        return self._line

    async def close(self) -> None:
        if self._line is not None:
            self._line.hang_up()
            self._line = None
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


async def connect() -> psycopg.AsyncConnection:
    """Open a connection to the configured database, outside of Django's pool."""
    parameters = connections["default"].get_connection_params()
    for sync_only in ("cursor_factory", "context"):
        parameters.pop(sync_only, None)
    return await psycopg.AsyncConnection.connect(**parameters, autocommit=True)


def begin(lock_wait_ms: int) -> list[Command]:
    """Return the commands that begin a transaction. They are sent with its first statements."""
    limit_ms = round(1000 * settings.COMMIT_TIMEOUT_S)
    return [BEGIN, (_SETTINGS.format(lock_wait_ms=lock_wait_ms, limit_ms=limit_ms), None)]


async def is_direct(connection: psycopg.AsyncConnection) -> bool:
    """True when the connection goes to the server itself and not to a pooler.

    A pooler runs each transaction in another server process, so the process id that it announces
    for the connection is made up.
    """
    cursor = await connection.execute("SELECT pg_backend_pid()")
    return await cursor.fetchone() == (connection.pgconn.backend_pid,)


async def _transact(
    line: "Line", begun: list[Command], generator: Batch, decided: Decided | None
) -> list[Any]:
    """Run the batch `generator`, and return its results once they are committed."""
    try:
        return await _begin_to_commit(line, begun, generator, decided)
    except errors.LockNotAvailable:
        await line.ask([ROLLBACK])
        raise


async def _begin_to_commit(
    line: "Line", begun: list[Command], generator: Batch, decided: Decided | None
) -> list[Any]:
    rows: Any = None
    while True:
        try:
            commands = [_command(*one) for one in generator.send(rows)]
        except StopIteration as done:
            results, writes = done.value
            break
        rows = (await line.ask([*begun, *commands]))[len(begun) :]
        begun = []
    if decided is not None:
        decided(results)
    await line.ask([*begun, *(_command(*one) for one in writes), COMMIT])
    return results


def _command(name: str, rows: list[dict]) -> Command:
    return name, [as_json(rows).encode()]


@functools.cache
def _sql(name: str) -> bytes:
    """The statement with libpq's own placeholder."""
    return statement(name, "postgresql").replace("%s", "$1").encode()


@functools.cache
def _prepared(name: str) -> bytes:
    """Return the statement's name at the server; statements with different text never share one."""
    return f"{name}_{hashlib.sha256(_sql(name)).hexdigest()[:16]}".encode()


class Line:
    """A connection in pipeline mode.

    Its socket is watched from the first wait on: starting and ending a watch for each wait would
    cost more than the wait.
    """

    def __init__(self, pgconn: PGconn):
        self._pgconn = pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = pgconn.socket
        self._waiter: asyncio.Future | None = None
        self._is_watched = False
        self._has_prepared = False

    async def prepare(self) -> None:
        """Have the server parse all statements and keep their plans. Raises psycopg.Error."""
        for name in NAMES:
            self._pgconn.send_prepare(_prepared(name), _sql(name))
        await self._answers()
        self._has_prepared = True

    async def ask(self, commands: list[Command]) -> list[batch.Rows]:
        """Send all `commands` at once and return the rows of each. Raises psycopg.Error."""
        for name, rows in commands:
            if rows is None:
                self._pgconn.send_query_params(name.encode(), None)
            elif self._has_prepared:
                self._pgconn.send_query_prepared(_prepared(name), rows)
            else:
                self._pgconn.send_query_params(_sql(name), rows)
        return await self._answers()

    async def _answers(self) -> list[batch.Rows]:
        """Return the server's answers to everything sent so far. Raises psycopg.Error."""
        pgconn = self._pgconn
        pgconn.pipeline_sync()
        while pgconn.flush():
            await self._writable()
            pgconn.consume_input()  # A server whose answers aren't read stops reading, too.
        answers: list[batch.Rows] = []
        failure: psycopg.Error | None = None
        while True:
            while pgconn.is_busy():
                await self._ready()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:  # This ends the results of one command.
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                break
            if result.status == ExecStatus.FATAL_ERROR:
                failure = failure or errors.error_from_result(result)
            answers.append(_rows(result))
        if failure is not None:
            raise failure
        return answers

    def hang_up(self) -> None:
        """Stop watching the socket."""
        if self._is_watched:
            self._loop.remove_reader(self._socket)
            self._is_watched = False

    async def _ready(self) -> None:
        """Return once there is something to read from the server."""
        if not self._is_watched:
            self._loop.add_reader(self._socket, self._note)
            self._is_watched = True
        self._waiter = self._loop.create_future()
        await self._waiter

    async def _writable(self) -> None:
        """Return once the server accepts more data or has sent some."""
        self._loop.add_writer(self._socket, self._note)
        try:
            await self._ready()
        finally:
            self._loop.remove_writer(self._socket)

    def _note(self) -> None:
        if self._waiter is None or self._waiter.done():
            self.hang_up()  # The loop would call again and again until somebody reads.
        else:
            self._waiter.set_result(None)


def _rows(result: PGresult) -> batch.Rows:
    readers = [_READERS.get(result.ftype(column), bytes.decode) for column in range(result.nfields)]
    return [
        tuple(
            None if (value := result.get_value(row, column)) is None else read(value)
            for column, read in enumerate(readers)
        )
        for row in range(result.ntuples)
    ]
