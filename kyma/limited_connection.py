"""Limits how long this process waits for Postgres.

A server that has frozen, or a pooler that has lost it, may acknowledge every byte and never answer.
No option of the connection notices that, so Django's connections count the time themselves. One
that has waited for too long is closed, and the query fails as if the database were out of reach.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg.errors import _WaitTimeout

# The server has this much longer than its own limit, so that it is the first to end a slow query.
GRACE_S = 0.5

_limit_s: float | None = None  # None: a command may wait for as long as it likes.
_of_thread = threading.local()


def limit(seconds: float) -> None:
    """Let no query of this process take longer. Call it before the first connection is made."""
    global _limit_s
    _limit_s = seconds


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Let this thread wait no longer than `seconds` for each answer, in the block."""
    _of_thread.limit_s = seconds
    try:
        yield
    finally:
        _of_thread.limit_s = None


def _wait_s() -> float | None:
    tighter: float | None = getattr(_of_thread, "limit_s", None)
    if tighter is not None:
        return tighter
    return None if _limit_s is None else _limit_s + GRACE_S


def statement_limit(limit_s: float, backend_pid: int) -> str:
    """Return the query that has the server end slow queries, unless a pooler stands in between.

    A pooler refuses this as an option of the connection, and would give the next client a session
    that has it set. It announces another `backend_pid` than the session's own.
    """
    return (
        f"SELECT set_config('statement_timeout', '{round(1000 * limit_s)}', false) "
        f"WHERE pg_backend_pid() = {backend_pid}"
    )


class LimitedConnection(psycopg.Connection):
    """A connection that is closed when an answer takes too long."""

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        connection = super().connect(conninfo, **options)
        if _limit_s is not None:
            connection.execute(statement_limit(_limit_s, connection.pgconn.backend_pid))
        return connection

    def wait(self, gen, interval: float = 0.1, timeout: float | None = None):
        limit_s = _wait_s() if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit_s)
        except _WaitTimeout as late:
            if timeout is not None:
                raise  # The caller is psycopg itself and copes.
            pool = getattr(self, "_pool", None)
            self.close()
            if pool is not None:
                pool.drain()  # The others may be as dead, and each would be waited for.
            raise psycopg.OperationalError(f"no answer within {limit_s} s") from late
