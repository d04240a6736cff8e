"""Hours and days, and the ids that requests of a period have in the log."""

import datetime as dt
import uuid

from django.utils import timezone

from accounts.ids import first_id_at

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
# An id is made when the request comes in, a moment before or after `created_at`. If the process
# died, `created_at` is that of the hold. So the ids of a range may lie slightly outside of it.
ID_SLACK = dt.timedelta(minutes=5)
# Pages and programs may ask for these days. Nearer to the ends of Python's calendar, a change of
# time zone could overflow it.
FIRST_DAY, LAST_DAY = dt.date(2000, 1, 1), dt.date(2999, 12, 31)
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_FAR_FUTURE = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)


def hour_of(moment: dt.datetime) -> dt.datetime:
    """Return the start of the UTC hour of `moment`."""
    return moment.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def day_of(moment: dt.datetime) -> dt.datetime:
    """Return the start of the UTC day of `moment`."""
    return hour_of(moment).replace(hour=0)


def midnight(day: dt.date) -> dt.datetime:
    """Return the start of `day` in the current time zone, which on a page is the viewer's."""
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))


def is_askable(moment: dt.datetime) -> bool:
    return FIRST_DAY <= moment.astimezone(dt.UTC).date() <= LAST_DAY


def ids_about(since: dt.datetime, until: dt.datetime) -> dict[str, uuid.UUID]:
    """Return a filter by primary key that holds for all requests of the range, and a few more."""
    first = max(since, _EPOCH + ID_SLACK) - ID_SLACK
    last = min(until, _FAR_FUTURE) + ID_SLACK
    return {"id__gte": first_id_at(first), "id__lt": first_id_at(max(first, last))}
