"""The counter of open holds: right from the start, and no slower while a dump runs."""

import importlib

import pytest
from django.apps import apps
from django.db import connection, transaction

from billing.models import CreditAccount
from gateway.commits.now import commit_now
from gateway.commits.sql import as_json, statement
from tests.support.another_session import another_session
from tests.support.books import hold
from tests.support.counts import counts
from tests.support.factories import make_account, make_key, make_price, make_release, make_settle

# What the counter has replaced.
COUNT = "SELECT count(*) FROM billing_hold WHERE account_id = (%s::jsonb -> 0 ->> 'id')::uuid"


def test_the_migration_counts_the_holds_that_are_open(books):
    price = make_price()
    accounts = [make_account(balance_nano=10_000) for _ in range(3)]
    for number, account in enumerate(accounts):
        for _ in range(number):
            hold(account, price)
    CreditAccount.objects.update(open_holds=0)
    importlib.import_module("billing.migrations.0009_open_holds").count(apps, None)
    numbers = CreditAccount.objects.in_bulk()
    assert [numbers[account.id].open_holds for account in accounts] == [0, 1, 2]


def test_holds_are_counted_as_they_open_and_close(books):
    account, price = make_account(balance_nano=10_000), make_price()
    reserves = [hold(account, price) for _ in range(3)]

    def counted() -> int:
        account.refresh_from_db()
        return account.open_holds

    assert counted() == 3
    commit_now([make_release(reserves[0])])
    assert counted() == 2
    commit_now([make_settle(reserves[1], 7), make_settle(reserves[2], 0)])
    assert counted() == 0
    commit_now([make_settle(reserves[1], 7), make_release(reserves[0])])
    assert counted() == 0


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite keeps no old snapshots")
@pytest.mark.parametrize("requests", counts(40, proof=600, endurance=5000))
def test_a_busy_account_stays_fast_beside_a_long_snapshot(committed_books, requests):
    """Deleted holds can't be removed then, and counting would visit each of them every time."""
    account, price = make_account(balance_nano=10**12), make_price()
    key = make_key(account.user)[0]
    reads = {
        "count": [(COUNT, account)],
        "batch": [
            (statement("lock_accounts", "postgresql"), account),
            (statement("read_key_spend", "postgresql"), key),
        ],
    }
    with another_session() as session, session.transaction():
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        session.execute("SELECT count(*) FROM billing_hold")
        before = {name: entries_read(statements) for name, statements in reads.items()}
        for _ in range(requests):
            commit_now([make_settle(hold(account, price, key=key), 7)])
        more = {name: entries_read(reads[name]) - before[name] for name in reads}
    assert more["count"] >= requests, "the snapshot keeps each of them"
    assert more["batch"] <= 2 + requests / 12, "only the rows' own versions, some sixty to a page"


def entries_read(statements: list) -> int:
    """How many entries of indexes are read by the statements, also those that lead nowhere."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # As it is with tables of some size.
        before = _entries_read(cursor)
        for sql, row in statements:
            cursor.execute(sql, [as_json([{"id": row.id}])])
        return _entries_read(cursor) - before


def _entries_read(cursor) -> int:
    cursor.execute(
        "SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index "
        "WHERE indrelid::regclass::text LIKE 'billing_%'"
    )
    return int(cursor.fetchone()[0])
