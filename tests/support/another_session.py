"""A session on the test's database beside Django's: it can hold locks and old snapshots."""

import psycopg
from django.db import connection


def another_session() -> psycopg.Connection:
    """Connect to Postgres. As a context manager it is closed at the end."""
    parameters = connection.get_connection_params()
    for of_django in ("cursor_factory", "context"):
        parameters.pop(of_django, None)
    return psycopg.connect(**parameters, autocommit=True)
