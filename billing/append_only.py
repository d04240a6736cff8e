"""Triggers that make ledger entries and price versions immutable, on both engines.

They are installed after every migrate, because SQLite drops a table's triggers whenever Django
rebuilds the table. Installing is safe to repeat.
"""

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
