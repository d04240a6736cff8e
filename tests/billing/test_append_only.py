"""Entries and price versions: made once, never changed, never deleted."""

import contextlib

import pytest
from django.db import DatabaseError, connection, transaction

from billing import append_only
from billing.models import LedgerEntry, PriceVersion
from tests.support.append_only import lifted
from tests.support.factories import make_account, make_price

pytestmark = pytest.mark.usefixtures("books")
on_postgres = connection.vendor == "postgresql"


def refused():
    return pytest.raises(DatabaseError, match="append-only")


@pytest.fixture
def entry():
    return make_account(balance_nano=5).entries.get()


@pytest.fixture
def price():
    return make_price()


def triggers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
            if on_postgres
            else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        )
        return {row[0] for row in cursor.fetchall()}


def test_the_triggers_stand_after_migrate():
    events = ["update", "delete", *(["truncate"] if on_postgres else [])]
    wanted = {f"{table}_no_{event}" for table in append_only.TABLES for event in events}
    assert triggers() >= wanted


def test_they_can_be_installed_again():
    before = triggers()
    append_only.install(connection)
    assert triggers() == before


def test_lifting_them_puts_them_back_even_after_an_error():
    before = triggers()
    with contextlib.suppress(RuntimeError), lifted(connection):
        assert not any(name.startswith("billing_") for name in triggers())
        raise RuntimeError
    assert triggers() == before


def test_an_entry_cannot_be_saved_again(entry):
    entry.amount_nano = 6
    with refused(), transaction.atomic():
        entry.save()
    entry.refresh_from_db()
    assert entry.amount_nano == 5


def test_an_entry_cannot_be_updated(entry):
    with refused(), transaction.atomic():
        LedgerEntry.objects.filter(pk=entry.pk).update(amount_nano=6)


def test_an_entry_cannot_be_deleted(entry):
    with refused(), transaction.atomic():
        entry.delete()
    assert LedgerEntry.objects.filter(pk=entry.pk).exists()


def test_a_price_cannot_be_changed_or_deleted(price):
    with refused(), transaction.atomic():
        PriceVersion.objects.filter(pk=price.pk).update(output_nano=1)
    with refused(), transaction.atomic():
        price.delete()


@pytest.mark.parametrize("table", append_only.TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_raw_sql_is_refused_too(table, statement, entry, price):
    with refused(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table))


@pytest.mark.skipif(not on_postgres, reason="SQLite has no TRUNCATE")
@pytest.mark.parametrize("table", append_only.TABLES)
def test_truncate_is_refused(table):
    with refused(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table} CASCADE")
