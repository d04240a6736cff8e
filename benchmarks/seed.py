"""Fills the database of a measured gateway: one customer, and a model for each script.

    python -m benchmarks.seed customer UPSTREAM_URL    makes them, prints the customer's key
    python -m benchmarks.seed rows COUNT               copies a request until there are COUNT

It is a program of its own, because a process has one database for its whole life.
"""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")  # dj-stripe's tables at once

PURCHASE_NANO = 1_000_000_000_000
TABLE = "gateway_apirequest"
# The copies are spread over 81 days, and end nine days ago.
SECONDS_BEFORE, SECONDS_BETWEEN = 90 * 24 * 3600, 7

# For each engine: numbers, with the time and the UUIDv7 of the row with that number.
SQLITE = """
WITH RECURSIVE numbers(number) AS (
    SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {missing}
), copies AS (
    SELECT number, unixepoch() - {before} + number * {between} AS moment FROM numbers
)
INSERT INTO {table} (id, created_at, {columns})
SELECT printf('%012x70008000%012x', moment * 1000, number),
    strftime('%Y-%m-%d %H:%M:%f', moment, 'unixepoch'), {columns}
FROM copies, (SELECT * FROM {table} LIMIT 1)
"""
POSTGRES = """
WITH copies AS (
    SELECT number, extract(epoch FROM now())::bigint - {before} + number * {between} AS moment
    FROM generate_series(1, {missing}) AS number
)
INSERT INTO {table} (id, created_at, {columns})
SELECT (lpad(to_hex(moment * 1000), 12, '0') || '70008000' || lpad(to_hex(number), 12, '0'))::uuid,
    to_timestamp(moment), {columns}
FROM copies, (SELECT * FROM {table} LIMIT 1) AS request
"""
# The state that a database has reached after growing for weeks.
SETTLED = {
    "sqlite": ["PRAGMA wal_checkpoint(TRUNCATE)"],
    "postgresql": [f"VACUUM ANALYZE {TABLE}", "CHECKPOINT"],
}


def customer(upstream_url: str) -> str:
    """Make the customer and the models, and return the customer's key."""
    from django.core.management import call_command

    from benchmarks.upstream import SCRIPTS
    from tests.support import factories

    for database in ("default", "keyring"):
        call_command("migrate", database=database, verbosity=0)
    provider = factories.make_provider("upstream", base_url=upstream_url, self_hosted=True)
    price = factories.make_price(input_nano=1_000_000, output_nano=4_000_000)
    for slug in SCRIPTS:
        factories.make_route(slug, provider=provider, price=price)
    user = factories.make_user("customer@example.org")
    factories.make_account(user, balance_nano=PURCHASE_NANO)
    return factories.make_key(user)[1]


def rows(count: str) -> str:
    """Fill the request log up to `count` rows, and return how many there are."""
    from django.db import connection

    from gateway.models import ApiRequest

    names = [field.column for field in ApiRequest._meta.fields]
    columns = ", ".join(name for name in names if name not in ("id", "created_at"))
    missing = int(count) - ApiRequest.objects.count()
    statement = SQLITE if connection.vendor == "sqlite" else POSTGRES
    filled = {"before": SECONDS_BEFORE, "between": SECONDS_BETWEEN, "table": TABLE}
    with connection.cursor() as cursor:
        if missing > 0:
            cursor.execute(statement.format(missing=missing, columns=columns, **filled))
        for settled in SETTLED[connection.vendor]:
            cursor.execute(settled)
    return str(ApiRequest.objects.count())


if __name__ == "__main__":
    django.setup()
    print({"customer": customer, "rows": rows}[sys.argv[1]](*sys.argv[2:]))
