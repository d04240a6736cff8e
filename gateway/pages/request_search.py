"""The request log of one account, searched: the newest first, a page at a time."""

import dataclasses
import datetime as dt
import uuid

from django.db import models
from django.db.models import Q, QuerySet

from gateway.analytics.tally import IS_OK
from gateway.models import ApiRequest, newest_first
from gateway.serving import sessions

PAGE = 50


class Status(models.TextChoices):
    SUCCEEDED = "ok", "succeeded"
    CALLER = "4xx", "refused (4xx)"
    FAILED = "5xx", "failed"
    GONE = "gone", "client gone"


# Each request is one of the first three. An answer may fail that began with a good status, and a
# lost request has none.
_OF_STATUS = {
    Status.SUCCEEDED: IS_OK,
    Status.CALLER: Q(status__gte=400, status__lt=500),
    Status.FAILED: Q(status__gte=500) | (Q(status__lt=400) & ~IS_OK),
    Status.GONE: Q(outcome=ApiRequest.Outcome.CLIENT_GONE),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Search:
    """What to look for; what is empty isn't asked. `until` is the first moment that is too late."""

    since: dt.datetime | None = None
    until: dt.datetime | None = None
    key_id: uuid.UUID | None = None
    model: str = ""
    provider: str = ""
    status: str = ""
    session: str = ""


def of_account(account_id: uuid.UUID) -> QuerySet[ApiRequest]:
    return ApiRequest.objects.filter(account=account_id).select_related("key")


def find(
    account_id: uuid.UUID, search: Search, *, before: ApiRequest | None = None
) -> tuple[list[ApiRequest], bool]:
    """The page of those that came in before `before`, and whether there are older ones."""
    rows = of_account(account_id).filter(_condition(account_id, search))
    if before is not None:
        rows = newest_first.older(rows, before.created_at, before.id)
    found = list(rows.order_by(*newest_first.ORDER)[: PAGE + 1])
    return found[:PAGE], len(found) > PAGE


def _condition(account_id: uuid.UUID, search: Search) -> Q:
    asked = {
        "created_at__gte": search.since,
        "created_at__lt": search.until,
        "key": search.key_id,
        "model": search.model,
        "provider": search.provider,
    }
    condition = Q(**{name: value for name, value in asked.items() if value})
    if search.status:
        condition &= _OF_STATUS[Status(search.status)]
    if search.session:
        # As the caller named it, or by the hash under which it is known here.
        said = sessions.hash_of(search.session, account_id.hex)
        condition &= Q(session_hash__in=[said, search.session])
    return condition
