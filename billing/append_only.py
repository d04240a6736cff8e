"""Triggers that make ledger entries and price versions immutable, on both engines.

They are installed after every migrate, because SQLite drops a table's triggers whenever Django
rebuilds the table. Installing is safe to repeat.
"""

from contextlib import contextmanager

TABLES = ("billing_ledgerentry", "billing_priceversion")

_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION kyma_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$
"""


def install(connection) -> None:
    """Put the triggers on every table that lacks them."""
    existing = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for table in existing.intersection(TABLES):
            for statement in _statements(connection.vendor, table):
                cursor.execute(statement)


def remove(connection) -> None:
    """Remove the triggers. Only the flush between tests and the removal of the demo may do so."""
    with connection.cursor() as cursor:
        for table in TABLES:
            on_table = f" ON {table}" if connection.vendor == "postgresql" else ""
            for event in ("update", "delete", "truncate"):
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{event}{on_table}")


@contextmanager
def lifted(connection):
    """Remove the triggers for the flush between tests, and put them back."""
    remove(connection)
    try:
        yield
    finally:
        install(connection)


def _statements(vendor: str, table: str) -> list[str]:
    if vendor == "postgresql":
        make = "CREATE OR REPLACE TRIGGER {0}_no_{1} BEFORE {1} ON {0} FOR EACH STATEMENT EXECUTE FUNCTION kyma_refuse_change()"  # noqa: E501
        return [_POSTGRES_FUNCTION] + [
            make.format(table, event) for event in ("update", "delete", "truncate")
        ]
    make = (
        "CREATE TRIGGER IF NOT EXISTS {0}_no_{1} BEFORE {1} ON {0} "
        "BEGIN SELECT RAISE(ABORT, '{0} is append-only'); END"
    )
    return [make.format(table, event) for event in ("update", "delete")]
