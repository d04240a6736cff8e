"""Distinguishes a database that is out of reach from one that refuses an operation.

Out of reach means that any other operation would fail as well: the connection was lost or no
answer came, the server is ending, its disk or memory is full, or it gave up a statement that took
too long.
"""

import sqlite3

import psycopg
from django.db import Error as DjangoError
from django.db import InterfaceError, OperationalError
from psycopg import errors

# Classes of Postgres' error codes: connection, resources, intervention of an operator, system.
_CLASSES = frozenset({"08", "53", "57", "58"})
_FATAL = frozenset({"FATAL", "PANIC"})  # The server has closed the connection.
_SQLITE_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
DATABASE_ERRORS = (psycopg.Error, DjangoError)
_PRIMARY = 0xFF  # The rest of an SQLite code names a special case of the same error.


def is_out_of_reach(error: BaseException) -> bool:
    """True if the database failed as a whole, so that no operation is at fault."""
    cause = error.__cause__ if isinstance(error, DjangoError) and error.__cause__ else error
    if isinstance(cause, psycopg.Error):
        return _is_out_of_reach(cause)
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY in _SQLITE_CODES
    return isinstance(error, OperationalError | InterfaceError)


def _is_out_of_reach(error: psycopg.Error) -> bool:
    if error.diag.severity_nonlocalized in _FATAL:
        return True
    if error.sqlstate is None:  # Not an answer of the server.
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _CLASSES


def is_locked(error: BaseException) -> bool:
    """True for the error that Postgres raises when a lock isn't granted in time."""
    return isinstance(error, errors.LockNotAvailable) or isinstance(
        error.__cause__, errors.LockNotAvailable
    )
