"""Content is gone when it is due, and not before (P8)."""

import datetime as dt
import uuid

import pytest
from django.db import connection

from accounts.ids import first_id_of, uuid7
from gateway import tasks
from gateway.log import content, partitions
from gateway.models import RequestContent
from tests.support.factories import make_account

pytestmark = pytest.mark.usefixtures("books")

NOW = dt.datetime(2031, 6, 1, 12, tzinfo=dt.UTC)
TODAY = NOW.date()
SECOND = dt.timedelta(seconds=1)
DAY = dt.timedelta(days=1)
on_postgres = connection.vendor == "postgresql"


def keep(purge_at: dt.datetime, day: dt.date = TODAY) -> RequestContent:
    """The content of a request that came in on `day`."""
    return RequestContent.objects.create(
        id=uuid.UUID(int=first_id_of(day).int | (uuid7().int & (1 << 62) - 1)),
        account_id=make_account().id,
        sealed=b"sealed",
        purge_at=purge_at,
    )


def kept() -> set:
    return set(RequestContent.objects.values_list("id", flat=True))


def test_what_is_due_goes_and_the_rest_stays():
    due = [keep(NOW), keep(NOW - 30 * DAY)]
    later = keep(NOW + SECOND)
    assert content.purge(NOW) == len(due)
    assert kept() == {later.id}
    assert content.purge(NOW) == 0


def test_more_than_one_batch_goes(monkeypatch):
    monkeypatch.setattr(content, "BATCH", 2)
    for _ in range(5):
        keep(NOW)
    assert content.purge(NOW) == 5
    assert kept() == set()


def test_the_task_purges_by_the_clock():
    keep(dt.datetime.now(dt.UTC) - SECOND)
    tasks.purge_content()
    assert kept() == set()


@pytest.mark.skipif(not on_postgres, reason="SQLite has no partitions")
def test_days_behind_the_longest_retention_are_dropped():
    oldest_kept = (NOW - 90 * DAY).date()
    partitions.ensure(connection, today=oldest_kept - DAY)
    row = keep(NOW + SECOND, oldest_kept)
    content.purge(NOW)
    names = connection.introspection.table_names(include_views=True)
    assert f"{partitions.TABLE}_{oldest_kept - DAY:%Y%m%d}" not in names
    assert f"{partitions.TABLE}_{oldest_kept:%Y%m%d}" in names
    assert kept() == {row.id}


@pytest.mark.skipif(on_postgres, reason="Postgres drops partitions")
def test_on_sqlite_there_is_no_partition_to_drop():
    assert partitions.drop_before(connection, NOW.date()) == 0
