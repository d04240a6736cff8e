"""Closes the holds that dead processes left behind.

A hold is swept if its process is dead (`deaths.py`), or if its deadline has passed: the total
timeout ends every request before that. The sweeper closes it without a charge and logs its request
as lost. It is safe to run twice, in several processes at once, and against a late settlement: the
first to commit wins, and the other changes nothing.

It holds the lock of one account at a time, and waits for none longer than LOCK_WAIT_MS: a locked
account is left for the next run.
"""

import datetime as dt
import itertools
import logging

from django.db import IntegrityError, OperationalError, connection
from django.db.models import OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from billing.models import Hold
from gateway.commits import deaths
from gateway.commits.now import commit_now
from gateway.commits.operations import Operation, Settle
from gateway.commits.record import RequestRecord
from gateway.models import ApiRequest, Route, SweeperState

logger = logging.getLogger(__name__)

LOCK_WAIT_MS = 200
AT_ONCE = 256  # The most holds of one account that one transaction closes.
OLD_TRANSACTION_S = 900  # From this age on a transaction is reported in the log.


def run() -> int:
    """Do all that the sweeper does each time. Returns how many holds were closed."""
    died = deaths.look()
    if died:
        logger.warning("%d web processes are dead: their holds are swept", died)
    closed = sweep()
    deaths.forget()
    _leave_word(_oldest_transaction_s())
    return closed


def sweep(now: dt.datetime | None = None, limit: int = 10_000) -> int:
    """Close at most `limit` holds of dead processes or past their deadline, the oldest first.

    Returns how many this call closed. A deadline is compared with `now`, or if that is None with
    the database's clock.
    """
    holds = list(_abandoned(now or Now()).order_by("deadline")[:limit])
    if not holds:
        return 0
    routes = _routes(
        Route.objects.filter(price_version__in={one.price_version_id for one in holds})
    )
    at = now or timezone.now()
    closed = 0
    holds.sort(key=lambda hold: hold.account_id)
    for _, of_account in itertools.groupby(holds, key=lambda hold: hold.account_id):
        settles = [Settle(_lost(hold, routes), cost_nano=0, now=at) for hold in of_account]
        closed += _close(settles)
    return closed


def _abandoned(now: dt.datetime | Now) -> QuerySet[Hold]:
    # One statement, so that it sees no hold without the process that made it.
    return Hold.objects.filter(Q(deadline__lt=now) | Q(deaths.is_dead(OuterRef("process_id"))))


def _close(settles: list[Settle]) -> int:
    """Close holds of one account. Returns how many; they stay if the account is locked."""
    results: list[object] = []
    for start in range(0, len(settles), AT_ONCE):
        try:
            results += _commit(settles[start : start + AT_ONCE])
        except OperationalError as error:
            kind = type(error.__cause__ or error).__name__
            logger.warning("account %s can't be swept now: %s", settles[0].account_id, kind)
            break
    return sum(result == 0 for result in results)


def _commit(settles: list[Settle]) -> list[object]:
    try:
        return commit_now(list[Operation](settles), lock_wait_ms=LOCK_WAIT_MS)
    except IntegrityError as error:
        # The account's books are wrong. Its holds that can be closed are closed all the same.
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


# --- What it leaves for others to see


def _leave_word(oldest_transaction_s: float) -> None:
    """Note that a sweeper has run. Processes read it with their beats (`lease_rows.py`)."""
    before = SweeperState.objects.first()
    SweeperState.objects.update_or_create(
        defaults={"swept_at": Now(), "oldest_transaction_s": oldest_transaction_s}, pk=1
    )
    was_old = before is not None and before.oldest_transaction_s >= OLD_TRANSACTION_S
    if oldest_transaction_s >= OLD_TRANSACTION_S and not was_old:
        logger.warning(
            "a transaction has been open for %d s: until it ends, deleted rows stay in the way",
            oldest_transaction_s,
        )


def _oldest_transaction_s() -> float:
    """Return the age of the oldest open transaction of this database, in seconds.

    Postgres shows those of other roles only to a member of pg_read_all_stats.
    """
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0) "
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return float(cursor.fetchone()[0])
