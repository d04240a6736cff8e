"""Deletes the content of requests when its time has come: after 90 days at the most (P8). Answers
that are kept for an Idempotency-Key go after a day.

Each row says itself when that is. On Postgres the partitions of days that lie wholly behind the
longest retention are dropped, which leaves nothing of them in the table's files; on SQLite what
is deleted is overwritten and taken out of the write-ahead log.
"""

import datetime as dt

from django.db import connection
from django.utils import timezone

from accounts.models import RETENTION_CHOICES_DAYS
from gateway.log import partitions
from gateway.models import IdempotentRequest, RequestContent

BATCH = 500  # Rows of one transaction: writers never wait long.


def purge(now: dt.datetime | None = None) -> int:
    """Delete what is due, in small transactions. Returns how many rows. Safe to run twice."""
    now = now or timezone.now()
    due = RequestContent.objects.filter(purge_at__lte=now)
    purged = 0
    while ids := list(due.values_list("id", flat=True)[:BATCH]):
        purged += RequestContent.objects.filter(id__in=ids).delete()[0]
    purged += _purge_kept_answers(now)
    longest = dt.timedelta(days=max(RETENTION_CHOICES_DAYS))
    partitions.drop_before(connection, (now - longest).date())
    if purged:
        leave_no_trace(connection)
    return purged


def leave_no_trace(connection) -> None:
    """After a deletion: take what was deleted out of SQLite's write-ahead log, too."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _purge_kept_answers(now: dt.datetime) -> int:
    expired = IdempotentRequest.objects.filter(expires_at__lte=now)
    purged = 0
    while ids := list(expired.values_list("id", flat=True)[:BATCH]):
        purged += IdempotentRequest.objects.filter(id__in=ids).delete()[0]
    return purged
