"""What an account has used: sums for any range of time, right to the nano-dollar at any moment.

A request belongs to the moment at which it came in (`created_at`). Whole hours and days that are
final come from the rollups (`rollups.py`), the rest from the rows of the log: the edges of a
range, hours in which a day of the zone begins, and all where only the rows tell. A UTC day in which
a day of the zone begins is counted whole in one of the two, and its hours on the other side are
moved: a few rows instead of 24 for each kind. Percentiles come from histograms (`histogram.py`) and
are off by up to 4 %; all else is exact.
"""

import bisect
import dataclasses
import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from accounts.models import ApiKey
from gateway.analytics import histogram, rollups, tally
from gateway.analytics.periods import DAY, HOUR, day_of, hour_of, ids_about
from gateway.analytics.tally import IS_OK, IS_USAGE, Tally
from gateway.models import ApiRequest, UsageDay, UsageHour, newest_first

HOURLY_UP_TO = dt.timedelta(hours=48)
RANGES_AT_ONCE = 100  # In one query.
_INSTANT = dt.timedelta(microseconds=1)


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


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """All that is asked below, of one filter."""

    total: Figures
    errors_by_class: dict[str, int]
    over_time: list[tuple[dt.datetime, Figures]]
    by_model: list[tuple[str, Figures]]
    by_provider: list[tuple[str, Figures]]
    by_key: list[tuple[ApiKey | None, Figures]]


class Part(NamedTuple):
    """What requests are told apart by."""

    at: dt.datetime
    model: str
    provider: str
    key_id: uuid.UUID | None


def report(filter: Filter, *, zone: dt.tzinfo) -> Report:
    """Everything from one reading: so the parts add up to the total while requests come in."""
    starts = _starts(filter, zone)
    sums = _sums(filter, lambda part: part._replace(at=_start_of(part.at, starts)), cuts=starts)
    periods = _merged(sums, lambda part: part.at)
    total = _merged(periods, lambda start: None)[None]
    return Report(
        total=_figures(total),
        errors_by_class=_by_class(total),
        over_time=[(start.astimezone(zone), _figures(periods[start])) for start in starts],
        by_model=_dearest_first(_merged(sums, lambda part: part.model)),
        by_provider=_dearest_first(_merged(sums, lambda part: part.provider)),
        by_key=_named(_dearest_first(_merged(sums, lambda part: part.key_id))),
    )


def total(filter: Filter) -> Figures:
    return _figures(_sums(filter, lambda part: None)[None])


def errors_by_class(filter: Filter) -> dict[str, int]:
    """How many requests got no answer, by whose fault that was; see `tally.error_class`."""
    return _by_class(_sums(filter, lambda part: None)[None])


def by_model(filter: Filter) -> list[tuple[str, Figures]]:
    """The dearest first; "" stands for requests that came to no model."""
    return _dearest_first(_sums(filter, lambda part: part.model))


def by_provider(filter: Filter) -> list[tuple[str, Figures]]:
    """The dearest first; "" stands for requests that no provider answered."""
    return _dearest_first(_sums(filter, lambda part: part.provider))


def models_and_providers(filter: Filter) -> tuple[set[str], set[str]]:
    """The slugs of all that answered or were asked for."""
    found = _sums(filter, lambda part: (part.model, part.provider))
    return {model for model, _ in found} - {""}, {provider for _, provider in found} - {""}


def by_key(filter: Filter) -> list[tuple[ApiKey | None, Figures]]:
    """The dearest first; None stands for what was asked without a key, as in the chat."""
    return _named(_dearest_first(_sums(filter, lambda part: part.key_id)))


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
    rows = rows.filter(**_wanted(filter))
    if filter.session:
        rows = rows.filter(session_hash=filter.session)
    if filter.status:
        rows = rows.filter(IS_OK if filter.status == "ok" else ~IS_OK)
    return rows.order_by(*newest_first.ORDER)


def _wanted(filter: Filter) -> dict[str, Any]:
    """What rows and rollups can both be filtered by."""
    wanted = {"key": filter.key_id, "model": filter.model, "provider": filter.provider}
    return {name: value for name, value in wanted.items() if value}


# --- Adding up -----------------------------------------------------------------------------------

Grouping = Callable[[Part], Hashable]


def _sums(filter: Filter, group: Grouping, cuts: Sequence[dt.datetime] = ()) -> dict:
    """The sums of each group; `cuts` are the moments at which groups begin."""
    sums: dict[Any, Tally] = defaultdict(Tally)
    sources = Sources.of(filter, cuts)
    for part, numbers in _stored(UsageDay, filter, sources.days):
        sums[group(part._replace(at=sources.counted_at(part.at)))].add_stored(numbers)
    for part, numbers in _stored(UsageHour, filter, sources.hours):
        sums[group(part)].add_stored(numbers)
    for part, numbers in _stored(UsageHour, filter, sources.moved):
        sums[group(part)].add_stored(numbers)
        day = day_of(part.at)
        sums[group(part._replace(at=sources.counted_at(day)))].add_stored(numbers, sign=-1)
    rows = lines(filter).order_by().values_list("created_at", *Part._fields[1:], *tally.COLUMNS)
    for row in _within(sources.rows, rows, "created_at"):
        sums[group(Part(*row[:4]))].add_row(row[4:])
    return defaultdict(Tally, {label: one for label, one in sums.items() if one.requests})


def _stored(
    model: type[UsageDay] | type[UsageHour], filter: Filter, ranges: list["Range"]
) -> Iterator[tuple[Part, tuple]]:
    """The rollups that start in one of the ranges."""
    rows = model._default_manager.filter(account=filter.account_id, **_wanted(filter))
    rows = rows.values_list("start", *Part._fields[1:], *tally.STORED)
    for row in _within(ranges, rows, "start"):
        yield Part(*row[:4]), row[4:]


def _merged(sums: dict[Any, Tally], group: Callable[[Any], Hashable]) -> dict:
    """Sums that are told apart by less."""
    merged: dict[Any, Tally] = defaultdict(Tally)
    for part, one in sums.items():
        merged[group(part)].add(one)
    return merged


def _within(ranges: list["Range"], rows: QuerySet, column: str) -> Iterable[tuple]:
    """The rows whose `column` lies in one of the ranges."""
    for first in range(0, len(ranges), RANGES_AT_ONCE):
        wanted = Q()
        for since, until in ranges[first : first + RANGES_AT_ONCE]:
            wanted |= Q(**{f"{column}__gte": since, f"{column}__lt": until})
        yield from rows.filter(wanted).iterator()


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


def _by_class(one: Tally) -> dict[str, int]:
    return {name: one.errors[name] for name in tally.ERROR_CLASSES}


def _named(found: list[tuple[uuid.UUID | None, Figures]]) -> list[tuple[ApiKey | None, Figures]]:
    keys = ApiKey.objects.in_bulk([key_id for key_id, _ in found if key_id])
    return [(keys[key_id] if key_id else None, figures) for key_id, figures in found]


def _dearest_first(sums: dict) -> list[tuple[Any, Figures]]:
    found = [(label, _figures(one)) for label, one in sums.items()]
    return sorted(found, key=lambda one: (-one[1].cost_nano, -one[1].requests, str(one[0])))


# --- What to read from where ---------------------------------------------------------------------

Range = tuple[dt.datetime, dt.datetime]  # From the first, before the second.


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """A range of time, divided into what rollups of days and hours tell and what the rows do.

    `moved` are hours that their day has counted in another group than theirs.
    """

    days: list[Range] = dataclasses.field(default_factory=list)
    hours: list[Range] = dataclasses.field(default_factory=list)
    moved: list[Range] = dataclasses.field(default_factory=list)
    rows: list[Range] = dataclasses.field(default_factory=list)
    _counted_at: dict[dt.datetime, dt.datetime] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, filter: Filter, cuts: Sequence[dt.datetime] = ()) -> "Sources":
        """For groups that begin at `cuts`, in their order."""
        found = cls()
        only_rows = bool(filter.session or filter.status)
        final_until = filter.since if only_rows else rollups.final_until() or filter.since
        end = max(filter.since, min(final_until, filter.until))
        first, last = day_of(filter.since + DAY - _INSTANT), day_of(end)
        if first < last:
            found._take_hours(filter.since, first, cuts)
            for number in range((last - first) // DAY):
                found._take_day(first + number * DAY, cuts)
            found._take_hours(last, end, cuts)
        else:
            found._take_hours(filter.since, end, cuts)
        found._take(found.rows, end, filter.until)
        return found

    def counted_at(self, day: dt.datetime) -> dt.datetime:
        """A moment of the group in which the whole day is counted."""
        return self._counted_at.get(day, day)

    def _take_day(self, day: dt.datetime, cuts: Sequence) -> None:
        end = day + DAY
        within = cuts[bisect.bisect_right(cuts, day) : bisect.bisect_left(cuts, end)]
        if len(within) > 1 or any(cut != hour_of(cut) for cut in within):
            self._take_hours(day, end, within)
            return
        self._take(self.days, day, end)
        for cut in within:
            if cut - day < end - cut:
                self._counted_at[day] = cut
                self._take(self.moved, day, cut)
            else:
                self._take(self.moved, cut, end)

    def _take_hours(self, since: dt.datetime, until: dt.datetime, cuts: Sequence) -> None:
        """Whole hours; by their rows those which begin or end within one, or which a cut parts."""
        edges = [edge for edge in (since, until, *cuts) if since <= edge <= until]
        at = since
        for hour in sorted({hour_of(edge) for edge in edges if edge != hour_of(edge)}):
            stop = min(hour + HOUR, until)
            self._take(self.hours, at, hour)
            self._take(self.rows, max(at, hour), stop)
            at = max(at, stop)
        self._take(self.hours, at, until)

    @staticmethod
    def _take(ranges: list[Range], since: dt.datetime, until: dt.datetime) -> None:
        if since >= until:
            return
        if ranges and ranges[-1][1] == since:
            since = ranges.pop()[0]
        ranges.append((since, until))


# --- Periods -------------------------------------------------------------------------------------


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
