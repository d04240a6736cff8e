"""Takes the triggers of billing/append_only.py off, which the product itself never does."""

from collections.abc import Iterator
from contextlib import contextmanager

from billing import append_only


@contextmanager
def lifted(connection) -> Iterator[None]:
    """Remove the triggers to empty the tables or tamper with a row, then put them back."""
    with connection.cursor() as cursor:
        for table in append_only.TABLES:
            on_table = f" ON {table}" if connection.vendor == "postgresql" else ""
            for event in ("update", "delete", "truncate"):
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{event}{on_table}")
    try:
        yield
    finally:
        append_only.install(connection)
