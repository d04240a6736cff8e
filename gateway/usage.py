"""What an account has used: sums for any range of time, right to the nano-dollar at any moment.

A request belongs to the moment at which it came in (`created_at`). Percentiles come from
histograms (`histogram.py`) and are off by 5 % at the most; all else is exact.
"""

import bisect
import dataclasses
import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from django.db.models import QuerySet

from accounts.ids import first_id_at
from accounts.models import ApiKey
from gateway import histogram, tally
from gateway.models import ApiRequest
from gateway.tally import IS_OK, IS_USAGE, Tally

HOUR = dt.timedelta(hours=1)
HOURLY_UP_TO = dt.timedelta(hours=48)
# An id is made when the request comes in, a moment before or after `created_at`; where a process
# died, `created_at` is that of its hold. So ids of a range lie about the range.
ID_SLACK = dt.timedelta(minutes=15)
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_FAR_FUTURE = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filter:
    """Which requests are meant: of one account, `since` ≤ created_at < `until`; "" is any."""

    account_id: uuid.UUID
    since: dt.datetime
    until: dt.datetime
    key_id: uuid.UUID | None = None
    model: str = ""
    provider: str = ""
    status: str = ""  # "ok" or "error"
    session: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What a set of requests adds up to."""

    requests: int
    errors: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_nano: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    first_token_p50_ms: int | None


class Part(NamedTuple):
    """What requests are told apart by."""

    at: dt.datetime
    model: str
    provider: str
    key_id: uuid.UUID | None


def total(filter: Filter) -> Figures:
    return _figures(_sums(filter, lambda part: None)[None])


def errors_by_class(filter: Filter) -> dict[str, int]:
    """How many requests got no answer, by whose fault that was; see `tally.error_class`."""
    errors = _sums(filter, lambda part: None)[None].errors
    return {name: errors[name] for name in tally.ERROR_CLASSES}


def by_model(filter: Filter) -> list[tuple[str, Figures]]:
    """The dearest first; "" stands for requests that came to no model."""
    return _dearest_first(_sums(filter, lambda part: part.model))


def by_provider(filter: Filter) -> list[tuple[str, Figures]]:
    """The dearest first; "" stands for requests that no provider answered."""
    return _dearest_first(_sums(filter, lambda part: part.provider))


def by_key(filter: Filter) -> list[tuple[ApiKey | None, Figures]]:
    """The dearest first; None stands for what was asked without a key, as in the chat."""
    found = _dearest_first(_sums(filter, lambda part: part.key_id))
    keys = ApiKey.objects.in_bulk([key_id for key_id, _ in found if key_id])
    return [(keys[key_id] if key_id else None, figures) for key_id, figures in found]


def over_time(filter: Filter, *, zone: dt.tzinfo) -> list[tuple[dt.datetime, Figures]]:
    """Hours of a range of up to 48 h, else days of `zone`; those without requests are zero."""
    starts = _starts(filter, zone)
    sums = _sums(filter, lambda part: _start_of(part.at, starts), cuts=starts)
    return [(start.astimezone(zone), _figures(sums[start])) for start in starts]


def lines(filter: Filter) -> QuerySet[ApiRequest]:
    """The requests themselves, newest first."""
    rows = ApiRequest.objects.filter(
        IS_USAGE,
        account=filter.account_id,
        created_at__gte=filter.since,
        created_at__lt=filter.until,
        **ids_about(filter.since, filter.until),
    )
    wanted = {"key": filter.key_id, "model": filter.model, "provider": filter.provider}
    rows = rows.filter(**{name: value for name, value in wanted.items() if value})
    if filter.session:
        rows = rows.filter(session_hash=filter.session)
    if filter.status:
        rows = rows.filter(IS_OK if filter.status == "ok" else ~IS_OK)
    return rows.order_by("-id")


def ids_about(since: dt.datetime, until: dt.datetime) -> dict[str, uuid.UUID]:
    """For a filter by the primary key: among these ids are those of the range's requests."""
    first = max(since, _EPOCH + ID_SLACK) - ID_SLACK
    last = min(until, _FAR_FUTURE) + ID_SLACK
    return {"id__gte": first_id_at(first), "id__lt": first_id_at(max(first, last))}


# --- Adding up -----------------------------------------------------------------------------------

Grouping = Callable[[Part], Hashable]


def _sums(filter: Filter, group: Grouping, cuts: list[dt.datetime] | None = None) -> dict:
    """The sums of each group; `cuts` are moments at which the groups change."""
    sums: dict[Any, Tally] = defaultdict(Tally)
    columns = (*Part._fields[1:], *tally.COLUMNS)
    for at, *row in lines(filter).order_by().values_list("created_at", *columns):
        part = Part(at, *row[:3])
        sums[group(part)].add_row(tuple(row[3:]))
    return sums


def _figures(one: Tally) -> Figures:
    return Figures(
        requests=one.requests,
        errors=one.errors.total(),
        prompt_tokens=one.prompt_tokens,
        cached_tokens=one.cached_tokens,
        completion_tokens=one.completion_tokens,
        reasoning_tokens=one.reasoning_tokens,
        cost_nano=one.cost_nano,
        latency_p50_ms=histogram.percentile_ms(one.latency, 50),
        latency_p95_ms=histogram.percentile_ms(one.latency, 95),
        first_token_p50_ms=histogram.percentile_ms(one.first_token, 50),
    )


def _dearest_first(sums: dict) -> list[tuple[Any, Figures]]:
    found = [(label, _figures(one)) for label, one in sums.items()]
    return sorted(found, key=lambda one: (-one[1].cost_nano, -one[1].requests, str(one[0])))


# --- Periods -------------------------------------------------------------------------------------


def hour_of(moment: dt.datetime) -> dt.datetime:
    """The start of the UTC hour that `moment` is in."""
    return moment.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def _starts(filter: Filter, zone: dt.tzinfo) -> list[dt.datetime]:
    """When the periods of the range start, the first maybe before it."""
    if filter.until <= filter.since:
        return []
    if filter.until - filter.since <= HOURLY_UP_TO:
        first = hour_of(filter.since)
        count = -(-(filter.until - first) // HOUR)
        return [first + HOUR * number for number in range(count)]
    day, found = filter.since.astimezone(zone).date(), []
    while (start := dt.datetime.combine(day, dt.time(), zone)) < filter.until:
        found.append(start.astimezone(dt.UTC))
        day += dt.timedelta(days=1)
    return found


def _start_of(moment: dt.datetime, starts: list[dt.datetime]) -> dt.datetime:
    """The last of `starts` that isn't after `moment`."""
    return starts[bisect.bisect_right(starts, moment) - 1]
