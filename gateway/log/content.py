"""The content of requests: what was asked and answered, and the caller's IP address, sealed.

Each row says when it is due for deletion, after 90 days at the most (P8). Its owner can delete it
earlier. Answers kept for an Idempotency-Key go with the content, or after a day.

Deleted content is really gone. On SQLite it is overwritten and taken out of the write-ahead log,
within the hour if somebody is reading just then. On Postgres the partitions of days that lie wholly
behind the longest retention are dropped.
"""

import datetime as dt
import logging
import uuid

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.encryption import Cipher
from accounts.errors import SealBroken
from accounts.ids import first_id_at
from accounts.models import RETENTION_CHOICES_DAYS
from gateway.log import partitions
from gateway.models import ApiRequest, ContentLeftOut, IdempotentRequest, RequestContent

logger = logging.getLogger(__name__)

BATCH = 500  # The rows of one transaction are few, so that writers never wait long.
CHECKPOINT_WAIT_MS = 50  # Writers wait as long for a checkpoint that waits for a reader.


# --- Reading -------------------------------------------------------------------------------------


def row_of(request_id: uuid.UUID, account_id: uuid.UUID) -> RequestContent | None:
    """Return the sealed content of a request of this account, unless it is due for deletion."""
    now = dt.datetime.now(dt.UTC)
    rows = RequestContent.objects.filter(pk=request_id, account_id=account_id, purge_at__gt=now)
    return rows.first()


def opened(row: RequestContent | None, cipher: Cipher) -> bytes | None:
    """Return the content in clear, as JSON, or None if there is none or it is damaged."""
    if row is None:
        return None
    try:
        return cipher.open(row.sealed, row.place)
    except SealBroken as broken:
        logger.error("the content of request %s is damaged: %s", row.id, broken)
        return None


def why_none(row: ApiRequest, *, is_kept: bool) -> str:
    """Explain to its owner why there is no content of a request to show.

    `is_kept` says that there is some, which can't be opened.
    """
    if is_kept:
        return "It is kept, but it is damaged and can't be opened. Please write to us."
    if row.outcome == ApiRequest.Outcome.REPLAYED:
        return "The answer was given before. Its content is kept with the first of these requests."
    is_lost = row.outcome == ApiRequest.Outcome.LOST
    if row.outcome == ApiRequest.Outcome.REFUSED or not (row.attempts or is_lost):
        return "No provider was asked, so nothing was stored but counts and timing."
    if row.content_left_out:
        return _LEFT_OUT[ContentLeftOut(row.content_left_out)]
    if row.key is None:
        return "Content of the chat isn't kept here: you find it in the conversation."
    if is_lost:
        return "The request could not be settled, or its process died, so nothing was kept."
    days = row.key.retention_days
    if days == 0:
        return "Nothing is kept: the retention of its key is 0 days."
    if dt.datetime.now(dt.UTC) - row.created_at > dt.timedelta(days=days):
        return f"It was deleted at the end of its retention: {days} days for this key."
    return "It was deleted, or its key kept nothing at that time."


_LEFT_OUT = {
    ContentLeftOut.BUDGET: "It wasn't kept: this account had stored as much as it may within a "
    "day. The answer was given and charged as always.",
    ContentLeftOut.BUSY: "It wasn't kept: Kyma had too much to write at that moment. The answer "
    "was given and charged as always.",
}


# --- Deleting, as its owner asks -----------------------------------------------------------------


def delete_of_request(account_id: uuid.UUID, request_id: uuid.UUID) -> bool:
    """Delete the content of one request, in one transaction. Safe to repeat.

    Returns True when there was something to delete.
    """
    with transaction.atomic():
        contents = RequestContent.objects.filter(pk=request_id, account_id=account_id)
        deleted, _ = contents.delete()
        answers = _kept_answers(account_id).filter(request_id=request_id).update(answer=None)
    leave_no_trace(connection)
    return bool(deleted or answers)


def delete_all(account_id: uuid.UUID, now: dt.datetime | None = None) -> int:
    """Delete the content of all requests that came in before now, in small transactions.

    Returns the number of requests that had content. A request that is still being answered keeps
    the content that it stores at its end.
    """
    before = first_id_at(now or dt.datetime.now(dt.UTC))
    deleted = _delete(RequestContent.objects.filter(account_id=account_id, id__lt=before))
    answers = _kept_answers(account_id).filter(request_id__lt=before)
    while ids := _next_ids(answers):
        IdempotentRequest.objects.filter(id__in=ids).update(answer=None)
    leave_no_trace(connection)
    return deleted


def _kept_answers(account_id: uuid.UUID) -> QuerySet[IdempotentRequest]:
    """Return the rows with an answer. Emptied, they still say that their key has been used."""
    return IdempotentRequest.objects.filter(account=account_id, answer__isnull=False)


# --- Purging, when it is due ---------------------------------------------------------------------


def purge(now: dt.datetime | None = None) -> int:
    """Delete what is due, in small transactions, and return the number of rows. Safe to repeat.

    An earlier run may have left traces in the file: it was killed, or somebody was reading.
    """
    now = now or timezone.now()
    purged = _delete(RequestContent.objects.filter(purge_at__lte=now))
    purged += _delete(IdempotentRequest.objects.filter(expires_at__lte=now))
    longest = dt.timedelta(days=max(RETENTION_CHOICES_DAYS))
    partitions.drop_before(connection, (now - longest).date())
    leave_no_trace(connection)
    return purged


# --- Both ----------------------------------------------------------------------------------------


def leave_no_trace(connection) -> bool:
    """Take what has just been deleted out of SQLite's file and its write-ahead log, too.

    While anybody reads an older state, that has to wait for the next purge. Then return False.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return True
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        (wait_ms,) = cursor.fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_MS}")
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            is_busy, *_ = cursor.fetchone()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {wait_ms}")
    if is_busy:
        logger.info("the database is being read: traces of deleted content go with the next purge")
    return not is_busy


def _delete(rows: QuerySet) -> int:
    """Delete `rows` in small transactions, and return their number."""
    deleted = 0
    while ids := _next_ids(rows):
        deleted += rows.model.objects.filter(id__in=ids).delete()[0]
    return deleted


def _next_ids(rows: QuerySet) -> list:
    return list(rows.values_list("id", flat=True)[:BATCH])
