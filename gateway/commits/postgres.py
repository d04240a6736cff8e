"""Runs batches on Postgres from the event loop, on one connection, in two round trips each.

Straight on libpq's pipeline mode: a batch has a dozen statements, and psycopg's cursors cost more
for each of them than all that a batch does besides. They are prepared once for each connection,
unless a pooler stands between. A connection on which anything went wrong is closed; the next batch
opens another. That somebody else holds a lock for too long is nothing wrong with it.
"""

import asyncio
import functools
import hashlib
from collections.abc import Callable, Generator
from typing import Any

import psycopg
from django.db import connections
from psycopg import errors
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from gateway.commits import batch
from gateway.commits.operations import Decided, Operation
from gateway.commits.sql import NAMES, as_json, statement

LOCK_WAIT_MS = 200  # Batches hold a lock for a few milliseconds; others hold up whom they lock out.
DEAF_MS = 10_000  # A server that doesn't even acknowledge what it is sent for so long is gone.
# How values are read that aren't text, by the type's number in pg_type.
_READERS: dict[int, Callable[[bytes], Any]] = {
    16: lambda value: value == b"t",  # bool
    20: int,  # bigint
    21: int,  # smallint
    23: int,  # int
}

Batch = Generator[list[batch.Statement], list[batch.Rows], tuple[list[Any], list[batch.Statement]]]
Command = tuple[str, list[bytes] | None]  # The name of a statement and its rows, or plain SQL.
BEGIN: Command = ("BEGIN", None)
COMMIT: Command = ("COMMIT", None)
ROLLBACK: Command = ("ROLLBACK", None)
# What a pooler says that wasn't recognised as one: the statement is another connection's.
_NOT_OURS = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)


class PostgresEngine:
    idle_turns = 0  # The server works beside us: the sooner it begins, the better.

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
        """Apply `operations` in one transaction. Raises psycopg.Error; LockNotAvailable after it
        has waited for each lock so long.
        """
        begin = [BEGIN, (f"SET LOCAL lock_timeout = {lock_wait_ms}", None)]
        try:
            line = await self._connected()
            return await _transact(line, begin, batch.apply(operations), decided)
        except errors.LockNotAvailable:
            raise
        except _NOT_OURS:
            await self.close()
            self._may_prepare = False
        except BaseException:
            await self.close()
            raise
        return await self.run(operations, decided, lock_wait_ms)

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
    """A connection to the database of the settings, outside of Django's pool."""
    parameters = connections["default"].get_connection_params()
    for sync_only in ("cursor_factory", "context"):
        parameters.pop(sync_only, None)
    return await psycopg.AsyncConnection.connect(
        **{"connect_timeout": 3, "tcp_user_timeout": DEAF_MS, **parameters}, autocommit=True
    )


async def is_direct(connection: psycopg.AsyncConnection) -> bool:
    """Whether the server itself is at the other end. A pooler, which gives each transaction to
    another process of the server, makes up the process that it says the connection has.
    """
    cursor = await connection.execute("SELECT pg_backend_pid()")
    return await cursor.fetchone() == (connection.pgconn.backend_pid,)


async def _transact(
    line: "Line", begin: list[Command], generator: Batch, decided: Decided | None
) -> list[Any]:
    """What the batch that `generator` is returns, once it is committed."""
    try:
        return await _begin_to_commit(line, begin, generator, decided)
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
    """What the statement is called at the server: never what one of another text is called."""
    return f"{name}_{hashlib.sha256(_sql(name)).hexdigest()[:16]}".encode()


class Line:
    """A connection in pipeline mode. Its socket is watched from the first wait on: a watch that
    is begun and ended for each wait costs more than what it waits for.
    """

    def __init__(self, pgconn: PGconn):
        self._pgconn = pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = pgconn.socket
        self._waiter: asyncio.Future | None = None
        self._is_watched = False
        self._has_prepared = False

    async def prepare(self) -> None:
        """Let the server parse all statements, and keep their plans. Raises psycopg.Error."""
        for name in NAMES:
            self._pgconn.send_prepare(_prepared(name), _sql(name))
        await self._answers()
        self._has_prepared = True

    async def ask(self, commands: list[Command]) -> list[batch.Rows]:
        """Send all of `commands` at once; the rows of each. Raises psycopg.Error."""
        for name, rows in commands:
            if rows is None:
                self._pgconn.send_query_params(name.encode(), None)
            elif self._has_prepared:
                self._pgconn.send_query_prepared(_prepared(name), rows)
            else:
                self._pgconn.send_query_params(_sql(name), rows)
        return await self._answers()

    async def _answers(self) -> list[batch.Rows]:
        """What the server says to all that was sent. Raises psycopg.Error."""
        pgconn = self._pgconn
        pgconn.pipeline_sync()
        while pgconn.flush():
            await self._writable()
            pgconn.consume_input()  # Or the server, whose answers nobody takes, takes no more.
        answers: list[batch.Rows] = []
        failure: psycopg.Error | None = None
        while True:
            while pgconn.is_busy():
                await self._ready()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:  # The end of one command's results.
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
        """Watch no more."""
        if self._is_watched:
            self._loop.remove_reader(self._socket)
            self._is_watched = False

    async def _ready(self) -> None:
        """Return once the server has something to say."""
        if not self._is_watched:
            self._loop.add_reader(self._socket, self._note)
            self._is_watched = True
        self._waiter = self._loop.create_future()
        await self._waiter

    async def _writable(self) -> None:
        """Return once the server takes more or has something to say."""
        self._loop.add_writer(self._socket, self._note)
        try:
            await self._ready()
        finally:
            self._loop.remove_writer(self._socket)

    def _note(self) -> None:
        if self._waiter is None or self._waiter.done():
            self.hang_up()  # Nobody listens: the loop would call for as long as nobody reads.
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
