"""Content goes on being stored and deleted while another session reads it for long."""

import concurrent.futures
import datetime as dt
import sqlite3
import threading
import time
import uuid
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from accounts.ids import uuid7
from gateway.log import content, partitions
from gateway.models import RequestContent
from tests.support.factories import make_account, make_user
from tests.support.live import database_urls

pytestmark = pytest.mark.usefixtures("committed_books")
on_postgres = connection.vendor == "postgresql"
only_postgres = pytest.mark.skipif(not on_postgres, reason="SQLite has no partitions")
only_sqlite = pytest.mark.skipif(on_postgres, reason="Postgres' log is none of Kyma's")

TODAY = dt.date(2041, 2, 27)  # Far from the partitions of the migration and of other tests.
DAY = dt.timedelta(days=1)
SECRET = b"ciphertext that must be gone " * 20


# --- Postgres: partitions ------------------------------------------------------------------------


@pytest.fixture
def other_session():
    with psycopg.connect(database_urls()["DATABASE_URL"], autocommit=True) as session:
        yield session


@pytest.fixture
def old_partitions():
    partitions.ensure(connection, today=TODAY - 60 * DAY)
    yield
    partitions.drop_before(connection, TODAY + 60 * DAY)
    partitions.ensure(connection)


@only_postgres
def test_partitions_wait_for_a_reader_only_for_a_moment(other_session, old_partitions, caplog):
    with storing() as slowest_s:
        other_session.execute("BEGIN")
        other_session.execute(f"SELECT count(*) FROM {partitions.TABLE}")
        assert partitions.ensure(connection, today=TODAY) == 0
        assert partitions.drop_before(connection, TODAY) == 0
        assert "partitions are made next time" in caplog.text
        assert "partitions are dropped next time" in caplog.text
        other_session.execute("COMMIT")
        assert partitions.ensure(connection, today=TODAY) == 31
        assert partitions.drop_before(connection, TODAY) >= 31
    assert 0 < slowest_s() < 0.25


class storing:
    """Store the content of one request after the other; calls give the slowest, in seconds."""

    def __enter__(self):
        self._over = threading.Event()
        self._account_id = make_account().id
        self._threads = concurrent.futures.ThreadPoolExecutor(1)
        self._work = self._threads.submit(self._store)
        return self._work.result

    def __exit__(self, *exc_info):
        self._over.set()
        self._threads.shutdown()

    def _store(self) -> float:
        slowest_s = 0.0
        with psycopg.connect(database_urls()["DATABASE_URL"], autocommit=True) as session:
            while not self._over.is_set():
                began = time.monotonic()
                session.execute(
                    f"INSERT INTO {partitions.TABLE} VALUES (%s, %s, %s, now())",
                    [uuid.uuid4(), self._account_id, b"sealed"],
                )
                slowest_s = max(slowest_s, time.monotonic() - began)
        return slowest_s


# --- SQLite: the write-ahead log -----------------------------------------------------------------


def keep_and_delete() -> None:
    account_id = make_account().id
    purge_at = dt.datetime.now(dt.UTC)
    row = RequestContent(id=uuid7(), account_id=account_id, sealed=SECRET, purge_at=purge_at)
    row.save(force_insert=True)
    content.leave_no_trace(connection)
    assert SECRET in files()
    RequestContent.objects.filter(pk=row.pk).delete()


def files() -> bytes:
    """The database and its write-ahead log, as they lie on the disk."""
    path = connection.settings_dict["NAME"]
    found = [Path(path), Path(f"{path}-wal")]
    return b"".join(one.read_bytes() for one in found if one.exists())


@pytest.fixture
def reader():
    """Another session, which reads an old state of the database until it is closed."""
    session = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    yield session
    session.close()


@only_sqlite
def test_a_purge_that_finds_nothing_mends_what_a_killed_one_left_behind():
    keep_and_delete()  # And there it was killed.
    assert SECRET in files()
    assert content.purge() == 0
    assert SECRET not in files()


@only_sqlite
def test_a_reader_delays_what_is_deleted_and_nobody_who_writes(reader, caplog):
    caplog.set_level("INFO")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM gateway_requestcontent").fetchall()
    keep_and_delete()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        began = time.monotonic()
        purging = threads.submit(in_own_connection, content.purge)
        make_user()  # A page or a commit, which needs the write lock.
        purging.result()
    assert time.monotonic() - began < 3  # Otherwise each would wait for 20 s.
    assert "traces of deleted content go with the next purge" in caplog.text
    assert SECRET in files()
    reader.execute("COMMIT")
    content.purge()
    assert SECRET not in files()
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        assert cursor.fetchone() == (20_000,)


def in_own_connection(function):
    try:
        return function()
    finally:
        connection.close()
