"""The databases of this test process: copies of the migrated ones, emptied between tests."""

import os
import uuid
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.conf import settings
from django.db import connections, transaction

from tests.support import append_only, migrated
from tests.support.on_postgres import MIGRATED

# The migrations leave these rows behind, and no test commits a change to them.
KEPT = {
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "auth_group",
    "auth_group_permissions",
}


def use_copies() -> None:
    """Copy the migrated databases, and let all connections of this process lead to the copies."""
    if connections["default"].vendor == "sqlite":
        names = {alias: settings.DATABASES[alias]["TEST"]["NAME"] for alias in connections}
        migrated.copy_sqlite({alias: Path(name) for alias, name in names.items()})
    else:
        urls = {alias: new_on_server(migrated.VARIABLES[alias]) for alias in connections}
        names = {alias: urlsplit(url).path.removeprefix("/") for alias, url in urls.items()}
    for alias, name in names.items():
        connections[alias].close()
        settings.DATABASES[alias]["NAME"] = name
        assert connections[alias].settings_dict["NAME"] == name


def close() -> None:
    for connection in connections.all():
        connection.close()
        if connection.vendor == "postgresql":
            connection.close_pool()


def new_on_server(variable: str, *, is_migrated: bool = True) -> str:
    """The URL of a new database on the Postgres server that `variable` points at."""
    name = f"test_{uuid.uuid4().hex}"
    template = f" TEMPLATE {MIGRATED[variable]}" if is_migrated else ""
    with psycopg.connect(os.environ[variable], autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}{template}")
    return urlunsplit(urlsplit(os.environ[variable])._replace(path=f"/{name}"))


def empty(alias: str) -> None:
    """Delete all rows that tests have committed.

    Django's flush takes each of 99 tables, and makes permissions and content types once more.
    """
    connection = connections[alias]
    with transaction.atomic(alias), connection.cursor() as cursor:
        cursor.execute(_full_tables(alias))
        full = [table for (table,) in cursor.fetchall()]
        if not full:
            return
        with append_only.lifted(connection):
            for table in full:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@cache
def _full_tables(alias: str) -> str:
    """The query for the names of the tables that have rows."""
    tables = connections[alias].introspection.django_table_names(only_existing=True)
    return " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})"
        for table in tables
        if table not in KEPT
    )
