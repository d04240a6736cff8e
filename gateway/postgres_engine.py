"""Runs batches on Postgres from the event loop, on one connection, in two round trips each.

Straight on libpq's pipeline mode: a batch has a dozen statements, and psycopg's cursors cost more
for each of them than all that a batch does besides. A connection on which anything went wrong is
closed; the next batch opens another.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import psycopg
from django.db import connections
from psycopg import errors
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from gateway import batch
from gateway.batch import Decided, Operation
from gateway.sql import as_json, statement

DEAF_MS = 10_000  # A server that doesn't even acknowledge what it is sent for so long is gone.
# How values are read that aren't text, by the type's number in pg_type.
_READERS: dict[int, Callable[[bytes], Any]] = {
    16: lambda value: value == b"t",  # bool
    20: int,  # bigint
    21: int,  # smallint
    23: int,  # int
}

Batch = Generator[list[batch.Statement], list[batch.Rows], list[Any]]
Command = tuple[bytes, list[bytes] | None]
BEGIN: Command = (b"BEGIN", None)
COMMIT: Command = (b"COMMIT", None)


class PostgresEngine:
    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection | None = None

    async def run(self, operations: list[Operation], decided: Decided | None = None) -> list[Any]:
        """Apply `operations` in one transaction. Raises psycopg.Error."""
        connection = await self._connected()
        try:
            return await _transact(connection.pgconn, batch.apply(operations, decided))
        except BaseException:
            await self.close()
            raise

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect()
            self._connection.pgconn.enter_pipeline_mode()
        return self._connection

    async def close(self) -> None:
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


async def _transact(pgconn: PGconn, generator: Batch) -> list[Any]:
    """What the batch that `generator` is returns, once it is committed."""
    begun: list[Command] = [BEGIN]
    rows: Any = None
    while True:
        try:
            commands = [_command(*one) for one in generator.send(rows)]
        except StopIteration as done:
            await _ask(pgconn, [*begun, COMMIT])
            return done.value
        rows = (await _ask(pgconn, [*begun, *commands]))[len(begun) :]
        begun = []


def _command(name: str, values: list[dict]) -> Command:
    return _numbered(name), [as_json(values).encode()]


def _numbered(name: str) -> bytes:
    """The statement with libpq's own placeholder."""
    return statement(name, "postgresql").replace("%s", "$1").encode()


async def _ask(pgconn: PGconn, commands: list[Command]) -> list[batch.Rows]:
    """Send all of `commands` at once; the rows of each. Raises psycopg.Error."""
    for sql, values in commands:
        pgconn.send_query_params(sql, values)
    pgconn.pipeline_sync()
    while pgconn.flush():
        await _ready(pgconn, writing=True)
        pgconn.consume_input()  # Or the server, whose answers nobody takes, takes no more.
    answers: list[batch.Rows] = []
    failure: psycopg.Error | None = None
    while True:
        while pgconn.is_busy():
            await _ready(pgconn)
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


def _rows(result: PGresult) -> batch.Rows:
    readers = [_READERS.get(result.ftype(column), bytes.decode) for column in range(result.nfields)]
    return [
        tuple(
            None if (value := result.get_value(row, column)) is None else read(value)
            for column, read in enumerate(readers)
        )
        for row in range(result.ntuples)
    ]


async def _ready(pgconn: PGconn, *, writing: bool = False) -> None:
    """Return once the server has something to say or, `writing`, takes more."""
    loop = asyncio.get_running_loop()
    ready, socket = loop.create_future(), pgconn.socket

    def note() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(socket, note)
    if writing:
        loop.add_writer(socket, note)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if writing:
            loop.remove_writer(socket)
