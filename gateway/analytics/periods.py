"""Hours and days, and where in the request log their rows are."""

import datetime as dt
import uuid

from django.utils import timezone

from accounts.ids import first_id_at

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
# An id is made when the request comes in, a moment before or after `created_at`; where a process
# died, `created_at` is that of its hold. So the ids of a range lie about the range.
ID_SLACK = dt.timedelta(minutes=5)
# What pages and programs may ask for. Beyond, a step into another zone leaves the calendar.
FIRST_DAY, LAST_DAY = dt.date(2000, 1, 1), dt.date(2999, 12, 31)
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_FAR_FUTURE = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)


def hour_of(moment: dt.datetime) -> dt.datetime:
    """The start of the UTC hour that `moment` is in."""
    return moment.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def day_of(moment: dt.datetime) -> dt.datetime:
    """The start of the UTC day that `moment` is in."""
    return hour_of(moment).replace(hour=0)


def midnight(day: dt.date) -> dt.datetime:
    """When `day` begins in the current zone, which is that of whoever looks at a page."""
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))


def is_askable(moment: dt.datetime) -> bool:
    return FIRST_DAY <= moment.astimezone(dt.UTC).date() <= LAST_DAY


def ids_about(since: dt.datetime, until: dt.datetime) -> dict[str, uuid.UUID]:
    """For a filter by the primary key: among these ids are those of the range's requests."""
    first = max(since, _EPOCH + ID_SLACK) - ID_SLACK
    last = min(until, _FAR_FUTURE) + ID_SLACK
    return {"id__gte": first_id_at(first), "id__lt": first_id_at(max(first, last))}
