"""Closes the holds of dead processes.

The total timeout ends every request before the deadline of its hold, so a hold past its
deadline has nobody left who could settle it. It is closed without a charge, and its request is
logged as lost. Safe to run twice, in several processes at once, and against a settle that
comes late: the first to commit wins, and the other changes nothing.
"""

import datetime as dt
import logging

from django.db import IntegrityError
from django.db.models import QuerySet
from django.utils import timezone

from billing.models import Hold
from gateway.commits.operations import Operation, Settle
from gateway.commits.queue import commit_now
from gateway.commits.record import RequestRecord
from gateway.models import ApiRequest, Route

logger = logging.getLogger(__name__)


def sweep(now: dt.datetime | None = None, limit: int = 500) -> int:
    """Close the holds past their deadline, at most `limit`. Returns how many this call closed."""
    now = now or timezone.now()
    holds = list(Hold.objects.filter(deadline__lt=now).order_by("deadline")[:limit])
    if not holds:
        return 0
    routes = _routes(
        Route.objects.filter(price_version__in={one.price_version_id for one in holds})
    )
    settles = [Settle(_lost(hold, routes), cost_nano=0, now=now) for hold in holds]
    return sum(result == 0 for result in _commit(settles))


def _commit(settles: list[Settle]) -> list[object]:
    try:
        return commit_now(list[Operation](settles))
    except IntegrityError as error:
        if len(settles) == 1:  # Its account's books are wrong: the others are closed all the same.
            logger.error("hold %s can't be swept: %s", settles[0].record.id, error)
            return [error]
    return [result for one in settles for result in _commit([one])]


def _lost(hold: Hold, routes: dict) -> RequestRecord:
    """The request row of a hold that nobody settled.

    Its status is 0: what the caller saw, if anything, died with the process.
    """
    record = RequestRecord(
        id=hold.id.hex,
        account_id=hold.account_id.hex,
        key_id=hold.key_id.hex if hold.key_id else None,
        created_at=hold.created_at,
        api="",
        outcome=ApiRequest.Outcome.LOST.value,
        error_type="server",
        price_version_id=hold.price_version_id.hex,
    )
    route = routes.get(hold.price_version_id)
    if route is not None:
        record.route_id = route.id.hex
        record.model, record.provider = route.model.slug, route.provider.slug
    return record


def _routes(routes: QuerySet) -> dict:
    """The route at each price version, where there is only one."""
    found: dict = {}
    for route in routes.select_related("model", "provider"):
        known = found.setdefault(route.price_version_id, route)
        if known is not route:
            found[route.price_version_id] = None
    return found
