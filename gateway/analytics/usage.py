"""The usage of an account: sums for any range of time, exact to the nano-dollar at any moment.

A request belongs to the moment at which it came in (`created_at`). Final hours and days that lie
whole within the range come from the rollups (`rollups.py`). The rest comes from the rows of the
log: the edges of the range, hours in which a day of the time zone begins, and everything if the
filter asks for columns that rollups lack.

A UTC day in which a day of the time zone begins belongs to two of them. It is first counted whole
in one, then its hours that belong to the other are moved there. That reads a few rows for each
kind instead of 24. Percentiles come from histograms (`histogram.py`) and are off by up to 4 %; all
other figures are exact.
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
from gateway.models import ApiRequest, UsageDay, UsageHour
from gateway.models.log import NEWEST_FIRST

HOURLY_UP_TO = dt.timedelta(hours=48)
RANGES_AT_ONCE = 100  # Per query.
_INSTANT = dt.timedelta(microseconds=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filter:
    """Selects requests of one account with `since` ≤ created_at < `until`; "" allows any value."""

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
    """The sums and percentiles of a set of requests."""

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
    """The results of all functions below for one filter."""

    total: Figures
    errors_by_class: dict[str, int]
    over_time: list[tuple[dt.datetime, Figures]]
    by_model: list[tuple[str, Figures]]
    by_provider: list[tuple[str, Figures]]
    by_key: list[tuple[ApiKey | None, Figures]]


class Part(NamedTuple):
    """The columns by which requests can be grouped."""

    at: dt.datetime
    model: str
    provider: str
    key_id: uuid.UUID | None


def report(filter: Filter, *, zone: dt.tzinfo) -> Report:
    """Return everything from one read, so that the parts add up even while requests come in."""
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
    """Count the requests that got no answer, by `tally.error_class`."""
    return _by_class(_sums(filter, lambda part: None)[None])


def by_model(filter: Filter) -> list[tuple[str, Figures]]:
    """Return the figures of each model, the most expensive first; "" stands for no model."""
    return _dearest_first(_sums(filter, lambda part: part.model))


def by_provider(filter: Filter) -> list[tuple[str, Figures]]:
    """Return the figures of each provider, the most expensive first; "" stands for none."""
    return _dearest_first(_sums(filter, lambda part: part.provider))


def models_and_providers(filter: Filter) -> tuple[set[str], set[str]]:
    """Return the slugs of all models and all providers in the requests."""
    found = _sums(filter, lambda part: (part.model, part.provider))
    return {model for model, _ in found} - {""}, {provider for _, provider in found} - {""}


def by_key(filter: Filter) -> list[tuple[ApiKey | None, Figures]]:
    """Return the figures of each key, the most expensive first; None is for no key (the chat)."""
    return _named(_dearest_first(_sums(filter, lambda part: part.key_id)))


def over_time(filter: Filter, *, zone: dt.tzinfo) -> list[tuple[dt.datetime, Figures]]:
    """Return figures by hour for a range of up to 48 h, and by day of `zone` for a longer one.

    Hours and days without requests are included.
    """
    starts = _starts(filter, zone)
    sums = _sums(filter, lambda part: _start_of(part.at, starts), cuts=starts)
    return [(start.astimezone(zone), _figures(sums[start])) for start in starts]


def lines(filter: Filter) -> QuerySet[ApiRequest]:
    """Return the requests themselves, newest first."""
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
    return rows.order_by(*NEWEST_FIRST)


def _wanted(filter: Filter) -> dict[str, Any]:
    """Return the filters that work for rows and for rollups."""
    wanted = {"key": filter.key_id, "model": filter.model, "provider": filter.provider}
    return {name: value for name, value in wanted.items() if value}


# --- Adding up -----------------------------------------------------------------------------------

Grouping = Callable[[Part], Hashable]


def _sums(filter: Filter, group: Grouping, cuts: Sequence[dt.datetime] = ()) -> dict:
    """Return the sums of each group; `cuts` are the moments at which groups begin."""
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
    """Yield the rollups that start in one of the ranges."""
    rows = model._default_manager.filter(account=filter.account_id, **_wanted(filter))
    rows = rows.values_list("start", *Part._fields[1:], *tally.STORED)
    for row in _within(ranges, rows, "start"):
        yield Part(*row[:4]), row[4:]


def _merged(sums: dict[Any, Tally], group: Callable[[Any], Hashable]) -> dict:
    """Add up sums into larger groups."""
    merged: dict[Any, Tally] = defaultdict(Tally)
    for part, one in sums.items():
        merged[group(part)].add(one)
    return merged


def _within(ranges: list["Range"], rows: QuerySet, column: str) -> Iterable[tuple]:
    """Yield the rows whose `column` lies in one of the ranges."""
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

Range = tuple[dt.datetime, dt.datetime]  # From the first up to, but without, the second.


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """A range of time, divided by source: rollups of days, rollups of hours, rows of the log.

    `moved` holds hours that must be moved to another group than the one their day is counted in.
    """

    days: list[Range] = dataclasses.field(default_factory=list)
    hours: list[Range] = dataclasses.field(default_factory=list)
    moved: list[Range] = dataclasses.field(default_factory=list)
    rows: list[Range] = dataclasses.field(default_factory=list)
    _counted_at: dict[dt.datetime, dt.datetime] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, filter: Filter, cuts: Sequence[dt.datetime] = ()) -> "Sources":
        """Divide the range of `filter` for groups that begin at `cuts`, which are in order."""
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
        """Return a moment in the group in which the whole day is counted."""
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
        """Take whole hours from rollups, and from rows each hour that an edge or a cut divides."""
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
    """Return the starts of the periods of the range; the first may lie before the range."""
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
    """Return the last of `starts` that isn't after `moment`."""
    return starts[bisect.bisect_right(starts, moment) - 1]
