"""Closes the holds that dead processes left behind.

The total timeout ends every request before the deadline of its hold, so a hold past its deadline
has no process left to settle it. The sweeper closes it without a charge and logs its request as
lost. It is safe to run twice, in several processes at once, and against a late settlement: the
first to commit wins, and the other changes nothing.
"""

import datetime as dt
import logging

from django.db import IntegrityError
from django.db.models import QuerySet
from django.utils import timezone

from billing.models import Hold
from gateway.commits.now import commit_now
from gateway.commits.operations import Operation, Settle
from gateway.commits.record import RequestRecord
from gateway.models import ApiRequest, Route

logger = logging.getLogger(__name__)


def sweep(now: dt.datetime | None = None, limit: int = 500) -> int:
    """Close at most `limit` holds past their deadline. Returns how many this call closed."""
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
        # This account's books are wrong. The holds of other accounts are still closed.
        if len(settles) == 1:
            logger.error("hold %s can't be swept: %s", settles[0].record.id, error)
            return [error]
    return [result for one in settles for result in _commit([one])]


def _lost(hold: Hold, routes: dict) -> RequestRecord:
    """Return the log row for the request of a hold that was never settled.

    Its status is 0: only the dead process knew which status the caller saw, if any.
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
    """Map each price version to its route, or to None where several routes share it."""
    found: dict = {}
    for route in routes.select_related("model", "provider"):
        known = found.setdefault(route.price_version_id, route)
        if known is not route:
            found[route.price_version_id] = None
    return found
