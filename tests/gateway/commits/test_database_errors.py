"""Errors by which the database is out of reach, and others, as both engines raise them."""

import sqlite3

import psycopg
import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from psycopg import errors
from psycopg_pool import PoolTimeout

from gateway.commits.database_errors import is_locked, is_out_of_reach


def wrapped(kind: type, cause: Exception) -> Exception:
    """`cause` as Django raises it."""
    error = kind(str(cause))
    error.__cause__ = cause
    return error


def of_sqlite(code: int) -> Exception:
    cause = sqlite3.OperationalError("from SQLite")
    cause.sqlite_errorcode = code
    return wrapped(OperationalError, cause)


AWAY = [
    psycopg.OperationalError("connection refused"),
    psycopg.InterfaceError("the connection is closed"),
    PoolTimeout("couldn't get a connection"),
    OperationalError("no thread was free"),
    InterfaceError("connection already closed"),
    errors.AdminShutdown(),
    errors.DiskFull(),
    errors.TooManyConnections(),
    errors.QueryCanceled(),
    errors.IoError(),
    wrapped(OperationalError, errors.DiskFull()),
    of_sqlite(sqlite3.SQLITE_FULL),
    of_sqlite(sqlite3.SQLITE_IOERR_WRITE),
    of_sqlite(sqlite3.SQLITE_BUSY),
]
REFUSED = [
    errors.ProgramLimitExceeded(),
    errors.DeadlockDetected(),
    errors.SerializationFailure(),
    errors.InternalError_(),
    errors.UniqueViolation(),
    errors.LockNotAvailable(),
    wrapped(IntegrityError, errors.CheckViolation()),
    wrapped(DataError, errors.StringDataRightTruncation()),
    of_sqlite(sqlite3.SQLITE_ERROR),
    IntegrityError("NOT NULL constraint failed"),
    ValueError("a fault of Kyma's own"),
]


@pytest.mark.parametrize("error", AWAY, ids=repr)
def test_by_these_the_database_is_out_of_reach(error):
    assert is_out_of_reach(error)


@pytest.mark.parametrize("error", REFUSED, ids=repr)
def test_by_these_one_operation_is_at_fault(error):
    assert not is_out_of_reach(error)


def test_a_lock_that_is_not_granted_is_neither():
    assert is_locked(errors.LockNotAvailable())
    assert is_locked(wrapped(OperationalError, errors.LockNotAvailable()))
    assert not is_locked(errors.DiskFull())
