"""How well routes serve, in public figures that don't reveal the traffic of one account.

A figure is shown only if it has 20 samples of its own. The number of samples is rounded, so that
two looks at a page don't reveal the requests in between. Shares are rounded, too, since they
would reveal the number: 95.2 % can only be 20 of 21. Times come from histograms.
"""

import dataclasses
import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable

from gateway.analytics import histogram, route_tally
from gateway.analytics.periods import DAY, HOUR, day_of, hour_of
from gateway.analytics.route_tally import ServiceTally
from gateway.models import RollupState, ServiceDay, ServiceHour

LEAST_SAMPLES = 20
PRECISE_FROM = 1000  # From this many attempts on the uptime has a tenth of a percent.
DAYS = 30
_STEPS = (1, 2, 5)


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """Percentiles in milliseconds; None where there are too few samples."""

    p50_ms: int | None
    p95_ms: int | None
    samples: int  # Rounded down.


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """How well some routes served in a period; `samples` is the rounded number of attempts."""

    uptime: float | None  # percent
    samples: int
    first_token: Times
    latency: Times
    tokens_per_second: int | None
    streams: int
    has_traffic: bool
    has_answered: bool

    @classmethod
    def of(cls, tally: ServiceTally) -> "Level":
        return cls(
            uptime=_uptime(tally),
            samples=rough(tally.attempts),
            first_token=_times(tally.first_token),
            latency=_times(tally.latency),
            tokens_per_second=_speed(tally),
            streams=rough(tally.streams),
            has_traffic=tally.attempts > 0,
            has_answered=tally.attempts > tally.failures,
        )


@dataclasses.dataclass(slots=True)
class History:
    """The tallies of some routes for the last 24 hours and for each of the last 30 days (UTC)."""

    last_24_hours: ServiceTally = dataclasses.field(default_factory=ServiceTally)
    days: dict[dt.date, ServiceTally] = dataclasses.field(
        default_factory=lambda: defaultdict(ServiceTally)
    )

    @property
    def last_30_days(self) -> ServiceTally:
        whole = ServiceTally()
        for tally in self.days.values():
            whole.add(tally)
        return whole

    @classmethod
    def sum(cls, histories: Iterable["History"]) -> "History":
        whole = cls()
        for history in histories:
            whole.last_24_hours.add(history.last_24_hours)
            for day, tally in history.days.items():
                whole.days[day].add(tally)
        return whole


def read(now: dt.datetime) -> dict[uuid.UUID, History]:
    """Return the history of each route: final days from their rollup, the rest from the hours'."""
    found: dict[uuid.UUID, History] = defaultdict(History)
    first_day, first_hour = day_of(now) - DAY * (DAYS - 1), hour_of(now) - HOUR * 23
    state = RollupState.objects.first()
    open_day = max(day_of(state.final_until) if state else first_day, first_day)
    days = ServiceDay.objects.filter(start__gte=first_day, start__lt=open_day)
    for start, route, *stored in days.values_list("start", "route_id", *route_tally.STORED):
        found[route].days[start.date()].add_stored(tuple(stored))
    hours = ServiceHour.objects.filter(start__gte=min(open_day, first_hour))
    for start, route, *stored in hours.values_list("start", "route_id", *route_tally.STORED):
        if start >= open_day:
            found[route].days[start.date()].add_stored(tuple(stored))
        if start >= first_hour:
            found[route].last_24_hours.add_stored(tuple(stored))
    return found


def days_until(now: dt.datetime) -> list[dt.date]:
    """Return the last 30 days, today included."""
    return [(day_of(now) - DAY * ago).date() for ago in reversed(range(DAYS))]


def rough(count: int) -> int:
    """Round `count` down to 20, 50, 100, 200, 500, …, or to 0 if it is below 20."""
    if count < LEAST_SAMPLES:
        return 0
    power = 10 ** (len(str(count)) - 1)
    return max(step * power for step in _STEPS if step * power <= count)


def _uptime(tally: ServiceTally) -> float | None:
    if tally.attempts < LEAST_SAMPLES:
        return None
    # Rounded down, so that 100 % means that nothing failed.
    steps = 10 if tally.attempts >= PRECISE_FROM else 1
    return (tally.attempts - tally.failures) * 100 * steps // tally.attempts / steps


def _times(one: histogram.Histogram) -> Times:
    count = one.total()
    if count < LEAST_SAMPLES:
        return Times(None, None, 0)
    percentile = histogram.percentile_ms
    return Times(percentile(one, 50), percentile(one, 95), rough(count))


def _speed(tally: ServiceTally) -> int | None:
    if tally.streams < LEAST_SAMPLES or not tally.writing_ms:
        return None
    return tally.output_tokens * 1000 // tally.writing_ms
