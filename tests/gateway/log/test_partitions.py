"""The daily partitions of request content: they exist only on Postgres."""

import datetime as dt

import pytest
from celery.schedules import crontab
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from accounts.ids import first_id_of
from gateway import tasks
from gateway.log import partitions
from gateway.models import RequestContent
from tests.support.factories import make_account

pytestmark = pytest.mark.usefixtures("books")
on_postgres = connection.vendor == "postgresql"
only_postgres = pytest.mark.skipif(not on_postgres, reason="SQLite has no partitions")

TODAY = dt.date(2031, 2, 27)  # Far from the partitions that the migration made.
DAY = dt.timedelta(days=1)


def partition_names() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            "WHERE inhparent = 'gateway_requestcontent'::regclass"
        )
        return {name for (name,) in cursor.fetchall()}


def keep_content_of(day: dt.date) -> str:
    """Store the content of a request that came in on `day`; returns the partition it is in."""
    row = RequestContent.objects.create(
        id=first_id_of(day),
        account_id=make_account().id,
        sealed=b"sealed",
        purge_at=dt.datetime(2031, 6, 1, tzinfo=dt.UTC),
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableoid::regclass::text FROM gateway_requestcontent WHERE id = %s", [row.id]
        )
        return cursor.fetchone()[0]


@pytest.mark.skipif(on_postgres, reason="Postgres has partitions")
def test_on_sqlite_there_is_nothing_to_make():
    assert partitions.ensure(connection) == 0
    tasks.make_partitions()


@only_postgres
def test_a_month_of_partitions_stands_after_migrate():
    today = dt.datetime.now(dt.UTC).date()
    days = [today + number * DAY for number in range(-1, 30)]
    standing = partition_names()
    made = [day for day in days if f"gateway_requestcontent_{day:%Y%m%d}" in standing]
    assert len(made) >= 30  # Midnight may have passed since.
    assert "gateway_requestcontent_default" in standing


@only_postgres
def test_there_is_one_for_today_and_each_of_the_next_30_days():
    before = partition_names()
    assert partitions.ensure(connection, today=TODAY) == 31
    made = partition_names() - before
    assert min(made) == "gateway_requestcontent_20310227"
    assert max(made) == "gateway_requestcontent_20310329"
    assert len(made) == 31


@only_postgres
def test_what_stands_is_not_made_again():
    partitions.ensure(connection, today=TODAY)
    standing = partition_names()
    assert partitions.ensure(connection, today=TODAY) == 0
    assert partition_names() == standing
    assert partitions.ensure(connection, today=TODAY + DAY) == 1


@only_postgres
def test_content_lands_in_the_partition_of_its_day():
    partitions.ensure(connection, today=TODAY)
    assert keep_content_of(TODAY) == "gateway_requestcontent_20310227"
    assert keep_content_of(TODAY + DAY) == "gateway_requestcontent_20310228"
    assert keep_content_of(TODAY + 30 * DAY) == "gateway_requestcontent_20310329"


@only_postgres
def test_content_of_any_other_day_lands_in_the_default_partition():
    partitions.ensure(connection, today=TODAY)
    assert keep_content_of(TODAY - DAY) == "gateway_requestcontent_default"
    assert keep_content_of(TODAY + 31 * DAY) == "gateway_requestcontent_default"


@only_postgres
def test_a_day_whose_content_went_to_the_default_does_not_keep_the_others_from_being_made(caplog):
    assert keep_content_of(TODAY) == "gateway_requestcontent_default"
    assert partitions.ensure(connection, today=TODAY) == 30
    assert keep_content_of(TODAY + DAY) == "gateway_requestcontent_20310228"
    assert RequestContent.objects.count() == 2
    assert "gateway_requestcontent_20310227" in caplog.text


@only_postgres
def test_content_is_found_whatever_partition_it_is_in():
    partitions.ensure(connection, today=TODAY)
    for day in (TODAY - DAY, TODAY, TODAY + DAY):
        keep_content_of(day)
    assert RequestContent.objects.filter(pk=first_id_of(TODAY)).exists()
    assert RequestContent.objects.filter(pk__lt=first_id_of(TODAY + DAY)).count() == 2
    with transaction.atomic():
        assert RequestContent.objects.filter(pk__gte=first_id_of(TODAY)).delete()[0] == 2


def test_the_job_comes_by_the_clock_and_after_each_migrate(monkeypatch):
    """A beat that is started afresh, with no memory of its last run, still finds it due."""
    for name in ("make content partitions", "purge content"):
        schedule = settings.CELERY_BEAT_SCHEDULE[name]["schedule"]
        assert isinstance(schedule, crontab)
        assert schedule.hour == set(range(24))
    ensured = []
    monkeypatch.setattr(partitions, "ensure", ensured.append)
    call_command("migrate", verbosity=0)
    call_command("migrate", database="keyring", verbosity=0)
    assert ensured == [connection]
