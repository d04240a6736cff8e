"""Connections of pages and jobs to Postgres: none waits for an answer for ever."""

import time

import psycopg
import pytest
from django.db import connection

from kyma import limited_connection
from kyma.limited_connection import GRACE_S, LimitedConnection, statement_limit
from tests.support.live import database_urls
from tests.support.silence import Pooler

pytestmark = [
    pytest.mark.usefixtures("committed"),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connections"),
]


@pytest.fixture
def limited(monkeypatch):
    monkeypatch.setattr(limited_connection, "_limit_s", None)
    limited_connection.limit(0.3)


def connect(url: str | None = None) -> LimitedConnection:
    return LimitedConnection.connect(url or database_urls()["DATABASE_URL"], autocommit=True)


def test_an_answer_that_does_not_come_ends_the_connection(limited):
    with Pooler() as pooler, connect(pooler.urls["DATABASE_URL"]) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
        began = time.monotonic()
        with pooler.silent(), pytest.raises(psycopg.OperationalError, match=r"no answer"):
            session.execute("SELECT 1")
        assert 0.3 + GRACE_S <= time.monotonic() - began < 5
        assert session.closed


def test_the_server_ends_a_slow_query_first_and_the_connection_stays(limited):
    with connect() as session:
        with pytest.raises(psycopg.errors.QueryCanceled):
            session.execute("SELECT pg_sleep(5)")
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_session_behind_a_pooler_is_left_as_it_is(limited):
    """The next client of the pooler gets it."""
    with connect() as session:
        assert session.execute("SHOW statement_timeout").fetchone() == ("300ms",)
        session.execute(statement_limit(7, session.pgconn.backend_pid + 1))
        assert session.execute("SHOW statement_timeout").fetchone() == ("300ms",)


def test_a_command_may_take_its_time(monkeypatch):
    monkeypatch.setattr(limited_connection, "_limit_s", None)
    with connect() as session:
        assert session.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_a_thread_may_want_to_wait_for_less(limited):
    with (
        connect() as session,
        limited_connection.at_most(0.1),
        pytest.raises(psycopg.OperationalError, match=r"within 0\.1 s"),
    ):
        session.execute("SELECT pg_sleep(0.25)")
    with connect() as session:
        session.execute("SELECT pg_sleep(0.25)")
