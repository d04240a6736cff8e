"""Deletes the content of requests when its time has come: after 90 days at the most (P8). Answers
that are kept for an Idempotency-Key go after a day.

Each row says itself when that is. On Postgres the partitions of days that lie wholly behind the
longest retention are dropped, which leaves nothing of them in the table's files; on SQLite what
is deleted is overwritten and taken out of the write-ahead log.
"""

import datetime as dt
import logging
import uuid

from django.db import connection, transaction
from django.utils import timezone

from accounts.encryption import Cipher
from accounts.errors import SealBroken
from accounts.ids import first_id_at
from accounts.models import RETENTION_CHOICES_DAYS
from gateway.log import partitions
from gateway.models import IdempotentRequest, RequestContent

logger = logging.getLogger(__name__)

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


def row_of(request_id: uuid.UUID, account_id: uuid.UUID) -> RequestContent | None:
    """The sealed content of a request of this account, unless its time has come."""
    now = dt.datetime.now(dt.UTC)
    rows = RequestContent.objects.filter(pk=request_id, account_id=account_id, purge_at__gt=now)
    return rows.first()


def opened(row: RequestContent | None, cipher: Cipher) -> bytes | None:
    """The content in clear, as JSON; None where there is none or it is damaged."""
    if row is None:
        return None
    try:
        return cipher.open(row.sealed, row.place)
    except SealBroken as broken:
        logger.error("the content of request %s is damaged: %s", row.id, broken)
        return None


def delete_of_request(account_id: uuid.UUID, request_id: uuid.UUID) -> bool:
    """In one transaction. Returns whether there was any. Safe to repeat."""
    with transaction.atomic():
        contents = RequestContent.objects.filter(pk=request_id, account_id=account_id)
        deleted, _ = contents.delete()
        answers = _kept_answers(account_id).filter(request_id=request_id).update(answer=None)
    leave_no_trace(connection)
    return bool(deleted or answers)


def delete_all(account_id: uuid.UUID, now: dt.datetime | None = None) -> int:
    """The content of all requests that came in before now, in small transactions.

    Returns of how many. What is being answered meanwhile keeps what it will say.
    """
    before = first_id_at(now or dt.datetime.now(dt.UTC))
    contents = RequestContent.objects.filter(account_id=account_id, id__lt=before)
    deleted = 0
    while ids := list(contents.values_list("id", flat=True)[:BATCH]):
        deleted += RequestContent.objects.filter(id__in=ids).delete()[0]
    answers = _kept_answers(account_id).filter(request_id__lt=before)
    while claims := list(answers.values_list("id", flat=True)[:BATCH]):
        IdempotentRequest.objects.filter(id__in=claims).update(answer=None)
    leave_no_trace(connection)
    return deleted


def _kept_answers(account_id: uuid.UUID):
    return IdempotentRequest.objects.filter(account=account_id, answer__isnull=False)
