"""Commits operations without the queue, for jobs, commands and pages, which may block."""

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from gateway.commits import batch
from gateway.commits.operations import Decided, Operation
from gateway.commits.sql import as_django, as_json, reads, statement


def commit_now(
    operations: list[Operation],
    decided: Decided | None = None,
    *,
    lock_wait_ms: int | None = None,
) -> list[Any]:
    """Apply `operations` in one transaction, on this thread. Return a result for each.

    `decided` gets the results before they are written. Raises django.db.Error; on Postgres that is
    OperationalError after `lock_wait_ms` at any one lock.
    """
    with transaction.atomic():
        connection = connections["default"]
        if lock_wait_ms is not None and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {lock_wait_ms}")
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
    """Run a statement without Django's cursor, which would rewrite its SQL each time."""
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
