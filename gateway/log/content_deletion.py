"""Content deleted by its owner before its time: of one request, or of all.

With the content go the answers that are kept for an Idempotency-Key. The key itself stays taken:
a request that is sent again is told that its answer is gone, and isn't charged a second time.
What remains of a request is its row in the log: counts, timing and money.
"""

import datetime as dt
import uuid

from django.db import connection, transaction

from accounts.ids import first_id_at
from gateway.log import content
from gateway.models import IdempotentRequest, RequestContent


def delete_of_request(account_id: uuid.UUID, request_id: uuid.UUID) -> bool:
    """In one transaction. Returns whether there was any. Safe to repeat."""
    with transaction.atomic():
        contents = RequestContent.objects.filter(pk=request_id, account_id=account_id)
        deleted, _ = contents.delete()
        answers = _kept_answers(account_id).filter(request_id=request_id).update(answer=None)
    content.leave_no_trace(connection)
    return bool(deleted or answers)


def delete_all(account_id: uuid.UUID, now: dt.datetime | None = None) -> int:
    """The content of all requests that came in before now, in small transactions.

    Returns of how many. What is being answered meanwhile keeps what it will say.
    """
    before = first_id_at(now or dt.datetime.now(dt.UTC))
    contents = RequestContent.objects.filter(account_id=account_id, id__lt=before)
    deleted = 0
    while ids := list(contents.values_list("id", flat=True)[: content.BATCH]):
        deleted += RequestContent.objects.filter(id__in=ids).delete()[0]
    answers = _kept_answers(account_id).filter(request_id__lt=before)
    while claims := list(answers.values_list("id", flat=True)[: content.BATCH]):
        IdempotentRequest.objects.filter(id__in=claims).update(answer=None)
    content.leave_no_trace(connection)
    return deleted


def _kept_answers(account_id: uuid.UUID):
    return IdempotentRequest.objects.filter(account=account_id, answer__isnull=False)
