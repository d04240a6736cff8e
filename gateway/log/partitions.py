"""The daily partitions of `gateway_requestcontent` on Postgres; elsewhere there are none.

The table is partitioned by its id, a UUIDv7, and so by the day on which a request came in.
Partitions are made 30 days ahead, after each migrate and hourly. A row without a partition of its
day goes to the default partition, so nothing is lost if that job didn't run.

Making or dropping one takes a lock for which it must wait while anybody reads the table, such as a
dump, and everybody behind it waits too. So it waits only for a moment, and tries again next time.
"""

import datetime as dt
import logging

from django.db import IntegrityError, OperationalError, connections, transaction
from psycopg.errors import LockNotAvailable

from accounts.ids import first_id_of

logger = logging.getLogger(__name__)

TABLE = "gateway_requestcontent"
DAYS_AHEAD = 30
LOCK_WAIT_MS = 100

_CREATE = f"""
CREATE TABLE {TABLE} (
    id uuid NOT NULL PRIMARY KEY,
    account_id uuid NOT NULL,
    sealed bytea NOT NULL,
    purge_at timestamp with time zone NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX {TABLE}_account ON {TABLE} (account_id);
CREATE INDEX {TABLE}_purge_at ON {TABLE} (purge_at);
CREATE TABLE {TABLE}_default PARTITION OF {TABLE} DEFAULT;
"""


def create_table(connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_CREATE)


def ensure(connection, *, today: dt.date | None = None) -> int:
    """Make the missing partitions of today and the next 30 days. Returns how many it made."""
    if connection.vendor != "postgresql":
        return 0
    today = today or dt.datetime.now(dt.UTC).date()
    days = [today + dt.timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]
    # Without `include_views` Django leaves partitions out.
    existing = set(connection.introspection.table_names(include_views=True))
    if f"{TABLE}_default" not in existing:
        return 0  # Only the migrations before that of this table have run.
    made = 0
    for day in days:
        try:
            made += _name(day) not in existing and _make(connection, day)
        except Busy:
            logger.warning("%s is being read: partitions are made next time", TABLE)
            break
    return made


def ensure_after_migrate(using: str, **_) -> None:
    if using == "default":
        ensure(connections[using])


def _make(connection, day: dt.date) -> bool:
    try:
        _run(connection, _partition_of(day))
    except IntegrityError:
        logger.warning("%s can't be made: the default partition holds rows of it", _name(day))
        return False
    return True


def drop_before(connection, day: dt.date) -> int:
    """Drop the partitions of the days before `day`. Returns how many it dropped."""
    if connection.vendor != "postgresql":
        return 0
    existing = connection.introspection.table_names(include_views=True)
    days = [name.removeprefix(f"{TABLE}_") for name in existing if name.startswith(f"{TABLE}_")]
    old = sorted(name for name in days if name.isdecimal() and name < f"{day:%Y%m%d}")
    for dropped, name in enumerate(old):
        try:
            _run(connection, f"DROP TABLE IF EXISTS {TABLE}_{name}")
        except Busy:
            logger.warning("%s is being read: partitions are dropped next time", TABLE)
            return dropped
    return len(old)


class Busy(Exception):
    """Another session reads the table."""


def _run(connection, sql: str) -> None:
    """Run one statement that locks the whole table. Raises Busy."""
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            cursor.execute(sql)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise Busy from error
        raise


def _partition_of(day: dt.date) -> str:
    start, end = first_id_of(day), first_id_of(day + dt.timedelta(days=1))
    return (
        f"CREATE TABLE IF NOT EXISTS {_name(day)} PARTITION OF {TABLE} "
        f"FOR VALUES FROM ('{start}') TO ('{end}')"
    )


def _name(day: dt.date) -> str:
    return f"{TABLE}_{day:%Y%m%d}"
