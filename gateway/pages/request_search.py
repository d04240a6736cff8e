"""The search in one account's request log: newest first, one page at a time."""

import dataclasses
import datetime as dt
import uuid

from django.db import models
from django.db.models import Q, QuerySet

from gateway.analytics.tally import IS_OK
from gateway.models import ApiRequest
from gateway.models.log import NEWEST_FIRST, older
from gateway.serving import sessions

PAGE = 50


class Status(models.TextChoices):
    SUCCEEDED = "ok", "succeeded"
    CALLER = "4xx", "refused (4xx)"
    FAILED = "5xx", "failed"
    GONE = "gone", "client gone"


# Each request has exactly one of the first three. An answer that began with a good status may still
# fail, and a lost request has no status.
_OF_STATUS = {
    Status.SUCCEEDED: IS_OK,
    Status.CALLER: Q(status__gte=400, status__lt=500),
    Status.FAILED: Q(status__gte=500) | (Q(status__lt=400) & ~IS_OK),
    Status.GONE: Q(outcome=ApiRequest.Outcome.CLIENT_GONE),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Search:
    """The conditions of a search. Empty ones don't filter. `until` itself is excluded."""

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
    """Return a page of requests older than `before`, and True if still older ones exist."""
    rows = of_account(account_id).filter(_condition(account_id, search))
    if before is not None:
        rows = older(rows, before.created_at, before.id)
    found = list(rows.order_by(*NEWEST_FIRST)[: PAGE + 1])
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
        # People may search by the caller's name for the session, or by its hash in our log.
        said = sessions.hash_of(search.session, account_id.hex)
        condition &= Q(session_hash__in=[said, search.session])
    return condition
